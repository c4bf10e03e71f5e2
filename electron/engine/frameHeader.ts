import { headerFlag } from '../contract/frames';

/** Single words of a frame's header (contract/frames.ts), where decoding all of it for them would be too much. */

const viewOf = (frame: Uint8Array): DataView => new DataView(frame.buffer, frame.byteOffset, frame.byteLength);

/** The step's number. */
export const sequenceOf = (frame: Uint8Array): number => viewOf(frame).getUint32(4, true);

/** Milliseconds of the step; null on audit tokens, which take longer. */
export function stepMs(frame: Uint8Array): number | null {
  const view = viewOf(frame);
  return view.getUint32(36, true) & headerFlag.audit ? null : view.getFloat32(40, true) / 1000;
}
