/**
 * Turns the bytes of tokens into text as they come. A character is given out once all its bytes are there, so text
 * already given out never changes; bytes that can never become a character come out as U+FFFD.
 */
export class TextStream {
  private pending: Uint8Array = new Uint8Array(0);
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  /** `bytes`: a token's bytes, any number of them, cut anywhere. */
  constructor(private readonly bytes: (token: number) => Uint8Array) {}

  /** The text that these tokens complete; '' while a character is still open. */
  push(tokens: readonly number[]): string {
    let text = '';
    for (const token of tokens) {
      const next = this.bytes(token);
      const joined = new Uint8Array(this.pending.length + next.length);
      joined.set(this.pending);
      joined.set(next, this.pending.length);
      const open = openTail(joined);
      text += this.decoder.decode(joined.subarray(0, joined.length - open));
      this.pending = joined.subarray(joined.length - open);
    }
    return text;
  }

  /** False while the last token ended inside a character. */
  get complete(): boolean {
    return this.pending.length === 0;
  }
}

/** How many bytes at the end begin a UTF-8 character whose rest is still to come: 0 to 3. */
function openTail(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) {
      const length = byte >= 0xf5 ? 0 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 0;
      if (length <= back) return 0;
      // The second byte decides whether the sequence can still become a character (no surrogates, no overlong forms).
      const second = back >= 2 ? (bytes[bytes.length - back + 1] as number) : undefined;
      return second !== undefined && !secondByteFits(byte, second) ? 0 : back;
    }
  }
  return 0;
}

function secondByteFits(lead: number, second: number): boolean {
  if (lead === 0xe0) return second >= 0xa0;
  if (lead === 0xed) return second <= 0x9f;
  if (lead === 0xf0) return second >= 0x90;
  if (lead === 0xf4) return second <= 0x8f;
  return true;
}
