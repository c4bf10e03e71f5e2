import type { ChatTemplate, TemplateMessage } from './template';
import type { Tokenizer } from './tokenizer';

/**
 * A noncharacter, put inside every special token's text that a person or a model wrote. The template then sees nearly
 * the real contents (it may trim or split them), and what it renders holds whole special tokens only where the
 * template itself wrote them.
 */
const mark = '\uFDD0';
const marks = new RegExp(mark, 'g');

/** Renders chats and turns them into tokens such that no content becomes a special token. */
export class PromptEncoder {
  private readonly special: RegExp | null;

  constructor(
    private readonly template: ChatTemplate,
    private readonly tokenizer: Tokenizer,
  ) {
    const escaped = tokenizer.specialTexts.map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    // The lookahead matters for tokens of a single character, which cannot be broken from inside.
    this.special = escaped.length > 0 ? new RegExp(`(?:${escaped.join('|')})(?!${mark})`, 'gu') : null;
  }

  /** A content with its special tokens' texts broken by marks. */
  neutral(content: string): string {
    let text = content.replace(marks, '');
    // Breaking one can leave another that overlapped it, so until none is left.
    while (this.special && text.search(this.special) >= 0) {
      text = text.replace(this.special, (found) => {
        const [first = ''] = found;
        return first + mark + found.slice(first.length);
      });
    }
    return text;
  }

  /** The rendered prompt, marks inside; `continueText` opens the assistant's message with that text. */
  render(messages: TemplateMessage[], continueText = ''): string {
    const neutral = messages.map(({ role, content }) => ({ role, content: this.neutral(content) }));
    return this.template.render(neutral) + this.neutral(continueText);
  }

  /** Tokens of a rendered prompt, or with `atStart` false of a part in its midst. BOS comes once, if the model wants it. */
  async encode(rendered: string, atStart = true): Promise<number[]> {
    const pieces: number[][] = [];
    let from = 0;
    let start = atStart;
    for (const match of this.special ? rendered.matchAll(this.special) : []) {
      pieces.push(await this.words(rendered.slice(from, match.index), start));
      pieces.push(await this.tokenizer.encode(match[0], { parseSpecial: true }));
      from = match.index + match[0].length;
      start = true;
    }
    pieces.push(await this.words(rendered.slice(from), start));
    const tokens = pieces.flat();
    const { addBos, bos } = this.tokenizer;
    if (atStart && addBos && bos !== null && tokens[0] !== bos) tokens.unshift(bos);
    return tokens;
  }

  private async words(piece: string, atStart: boolean): Promise<number[]> {
    if (piece === '') return [];
    return this.tokenizer.encode(piece.replace(marks, ''), { parseSpecial: false, atStart });
  }
}

/** A prompt as rendered, and the tokens it became. */
interface Checkpoint {
  text: string;
  tokens: number[];
}

/**
 * Remembers how one chat's text was tokenised, so that the next prompt repeats those tokens exactly and the KV cache
 * serves them: a model may have written its reply in other tokens than the tokenizer would choose for the same text.
 */
export class PromptMemory {
  private checkpoints: Checkpoint[] = [];

  constructor(private readonly encoder: PromptEncoder) {}

  /** Tokens of a rendered prompt: those of the longest remembered beginning, then the rest's. */
  async encode(rendered: string): Promise<number[]> {
    const known = this.checkpoints.findIndex((checkpoint) => !rendered.startsWith(checkpoint.text));
    if (known >= 0) this.checkpoints.length = known;
    const last = this.checkpoints[this.checkpoints.length - 1];
    const tokens = last
      ? [...last.tokens, ...(await this.encoder.encode(rendered.slice(last.text.length), last.text === ''))]
      : await this.encoder.encode(rendered);
    this.add(rendered, tokens);
    return tokens;
  }

  /** Appends what the model wrote after the last prompt: `text` is exactly what `tokens` decode to. */
  extend(text: string, tokens: readonly number[]): void {
    const last = this.checkpoints[this.checkpoints.length - 1];
    if (last && tokens.length > 0) this.add(last.text + this.encoder.neutral(text), [...last.tokens, ...tokens]);
  }

  private add(text: string, tokens: number[]): void {
    const last = this.checkpoints[this.checkpoints.length - 1];
    if (last?.text !== text) this.checkpoints.push({ text, tokens });
  }
}
