import { describe, expect, it } from 'vitest';
import { encodeRecord, encodeFrame, patternFrame, patternRecord } from '../../helpers/frames';
import { csvCell, writeCsv } from '../../../renderer/activity/csv';
import { FramesFileError, readFramesFile, writeFramesFile, writeJson } from '../../../renderer/activity/framesFile';
import type { Source } from '../../../renderer/activity/source';
import { writeSvg } from '../../../renderer/activity/svg';
import { blockGrid } from '../../../renderer/activity/cells';
import { FrameTrack } from '../../../renderer/activity/track';

const shape = { layers: 2, neurons: 32, heads: 2, blockSize: 8 };
const frames = [null, ...[1, 2, 3].map((sequence) => encodeFrame(patternFrame(shape, sequence)))];
const texts = ['=1+1', ' "quoted", ', '\n', '\uFFFD'];

function sample(): Source {
  const track = new FrameTrack(false);
  track.put(
    0,
    texts.map((text, id) => ({ id, text })),
    frames,
  );
  return {
    id: 'a',
    kind: 'run',
    label: 'Written at fast',
    messageId: 'm',
    track,
    provenance: {
      modelName: 'Tiny <model>',
      modelHash: 'ab'.repeat(32),
      sparsity: 'fast',
      seed: 7,
      version: '0.1.0',
      edits: [{ kind: 'neuron', layer: 1, index: 3, action: 'force', value: -2.5 }],
    },
    surprise: Float32Array.from([0.5, 1.25, Number.NaN, 3]),
    tokensPerSecond: 123.5,
    kl: 0.01,
    text: texts.join(''),
    records: true,
  };
}

const read = (bytes: Uint8Array) => readFramesFile(bytes, 'new', 'x.hunchframes');
const record = encodeRecord(patternRecord(shape, 2));

describe.each([
  ['.hunchframes', () => writeFramesFile(sample(), frames, new Map([[2, record]]))],
  ['JSON', () => writeJson(sample(), frames)],
])('a %s file', (kind, write) => {
  it('comes back with the same tokens, frames and provenance', () => {
    const source = sample();
    const { source: back, records } = read(write());
    expect(back.kind).toBe('imported');
    expect(back.label).toBe('x.hunchframes: Written at fast');
    expect(back.track.tokens).toEqual(source.track.tokens);
    frames.forEach((bytes, i) => expect(back.track.bytes(i)).toEqual(bytes));
    expect(back.provenance).toEqual(source.provenance);
    expect(back.surprise).toEqual(source.surprise);
    expect([back.tokensPerSecond, back.kl]).toEqual([123.5, 0.01]);
    expect(records.get(2)).toEqual(kind === 'JSON' ? undefined : record);
    expect(blockGrid(back.track.frame(2)!, 'peak', 3)).toEqual(blockGrid(source.track.frame(2)!, 'peak', 3));
  });

  it('is refused with a sentence when it is cut off anywhere', () => {
    const file = write();
    for (let end = 0; end < file.length; end += 13) {
      expect(() => read(file.slice(0, end)), String(end)).toThrow(FramesFileError);
    }
  });

  it('is taken or refused, but never breaks, with any byte changed', () => {
    const file = write();
    for (let at = 0; at < file.length; at += 5) {
      const changed = file.slice();
      changed[at]! ^= 0xff;
      try {
        read(changed);
      } catch (error) {
        expect(error, String(at)).toBeInstanceOf(FramesFileError);
        expect((error as Error).message).toMatch(/^“x\.hunchframes” .*\.$/);
      }
    }
  });
});

describe('hostile files', () => {
  const withHead = (head: unknown, rest = 0): Uint8Array => {
    const text = new TextEncoder().encode(JSON.stringify(head));
    const file = new Uint8Array(12 + text.length + rest);
    const view = new DataView(file.buffer);
    view.setUint32(0, 0x53464e48, true);
    view.setUint32(4, 1, true);
    view.setUint32(8, text.length, true);
    file.set(text, 12);
    return file;
  };
  const head = {
    format: 'hunchframes',
    label: 'x',
    provenance: null,
    tokens: [{ id: 1, text: 'a' }],
    frames: [0],
    records: [],
    surprise: null,
    tokensPerSecond: null,
    kl: null,
  };

  it('the frame of the test is sound', () => expect(read(withHead(head)).source.track.length).toBe(1));

  it.each([
    ['sizes that do not add up', { ...head, frames: [64] }, 10],
    ['a frame of zeros', { ...head, frames: [64] }, 64],
    ['more frames than tokens', { ...head, frames: [0, 0] }, 0],
    ['a record without a token', { ...head, records: [{ token: 9, bytes: 8 }] }, 8],
    ['negative sizes', { ...head, frames: [-8], records: [{ token: 0, bytes: 8 }] }, 0],
    ['edits that are none', { ...head, provenance: { ...sample().provenance, edits: [{ kind: 'all' }] } }, 0],
    ['a huge label', { ...head, label: 'x'.repeat(10_000) }, 0],
  ])('%s', (_name, changed, rest) => {
    expect(() => read(withHead(changed, rest))).toThrow(FramesFileError);
  });

  it('frames of different shapes, another version, and what is no such file', () => {
    const other = encodeFrame(patternFrame({ ...shape, layers: 3 }, 1));
    expect(() => read(writeFramesFile(sample(), [null, frames[1]!, other, null]))).toThrow(/differ in shape/);
    const wide = encodeRecord(patternRecord({ ...shape, neurons: 40 }, 2));
    expect(() => read(writeFramesFile(sample(), frames, new Map([[2, wide]])))).toThrow(/does not belong/);
    expect(() => read(writeFramesFile(sample(), frames, new Map([[0, record]])))).toThrow(/does not belong/);
    const none = encodeFrame(patternFrame({ ...shape, heads: 0 }, 1));
    expect(() => read(writeFramesFile(sample(), [null, none, null, null]))).toThrow(/no layers, neurons or heads/);
    const file = withHead(head);
    file[4] = 9;
    expect(() => read(file)).toThrow(/another version/);
    expect(() => read(new TextEncoder().encode('GGUF'))).toThrow(/no activations/);
    expect(() => read(new Uint8Array())).toThrow(FramesFileError);
    const claim = withHead(head);
    new DataView(claim.buffer).setUint32(8, 0xffffffff, true);
    expect(() => read(claim)).toThrow(/cut off/);
  });
});

describe('CSV', () => {
  it('has a line for each layer of each token, and nothing that a spreadsheet would run', () => {
    const lines = new TextDecoder().decode(writeCsv(sample())).trimEnd();
    expect(lines).toContain('# seed 7, sparsity fast, Hunch 0.1.0');
    const rows = lines.split('\n').filter((line) => /^\d/.test(line));
    expect(rows.length).toBeGreaterThanOrEqual(3 * shape.layers - 2); // one text holds a line end
    expect(csvCell('=1+1')).toBe("'=1+1");
    expect(csvCell('a "b", c')).toBe('"a ""b"", c"');
    expect(csvCell(Number.NaN)).toBe('');
  });
});

describe('SVG', () => {
  it('is well-formed, with patterns, legend and provenance', () => {
    const track = sample().track;
    const svg = writeSvg({
      title: 'Token “<b>”',
      caption: ['Tiny <model>'],
      rowsTitle: 'layer',
      columnsTitle: 'blocks',
      grid: blockGrid(track.frame(2)!, 'state', 1),
      theme: 'light',
      scale: 'viridis',
    });
    expect(svg).toContain('&lt;b&gt;');
    expect(svg).toContain('<pattern id="s5"');
    expect(svg).toContain('Tiny &lt;model&gt;');
    expect(svg).not.toMatch(/<script|onload|href/);
  });
});
