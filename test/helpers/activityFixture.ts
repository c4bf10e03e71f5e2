import { writeFileSync } from 'node:fs';
import { writeFramesFile } from '../../renderer/activity/framesFile';
import { FrameTrack } from '../../renderer/activity/track';
import { blockSizeOf, encodeFrame, encodeRecord, patternRecord, summaryOf, type FrameShape } from './frames';

/** Writes a file to import: `count` tokens of a model of this shape, each with every neuron. */
export function writeFixture(file: string, shape: FrameShape, count: number): void {
  const frames: Uint8Array[] = [];
  const records = new Map<number, Uint8Array>();
  const tokens = Array.from({ length: count }, (_, id) => ({ id, text: ` token${id}` }));
  for (let token = 0; token < count; token++) {
    const record = patternRecord(shape, token);
    records.set(token, encodeRecord(record));
    frames.push(encodeFrame(summaryOf(record, blockSizeOf(shape))));
  }
  const track = new FrameTrack(false);
  track.put(0, tokens, frames);
  const about = { surprise: null, tokensPerSecond: null, kl: null, text: null, records: true };
  const source = { id: 'x', kind: 'run' as const, label: 'Replay', messageId: null, track, provenance: null, ...about };
  writeFileSync(file, writeFramesFile(source, frames, records));
}
