import { HunchError } from '../contract/errors';
import { TemplateLimitError, parseTemplate, runTemplate } from './templateInterpreter';

export interface TemplateMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** For models that bring no template: the form most instruct models know. */
const chatMl =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** A model's chat template. */
export class ChatTemplate {
  private readonly program: ReturnType<typeof parseTemplate>;

  /** `tokens`: the texts of BOS and EOS, '' where there is none. Error: model-invalid. */
  constructor(
    source: string | null,
    private readonly fileName: string,
    private readonly tokens: { bos: string; eos: string },
  ) {
    try {
      this.program = parseTemplate(source ?? chatMl);
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** The prompt that asks for the next assistant message. Error: model-invalid. */
  render(messages: TemplateMessage[]): string {
    try {
      return this.run(messages);
    } catch (error) {
      // Some templates (Gemma, early Mistral) raise on a system message; the person's first message can carry it.
      const [system, first, ...rest] = messages;
      if (error instanceof TemplateLimitError || system?.role !== 'system' || first?.role !== 'user') {
        throw this.failure(error);
      }
      try {
        return this.run([{ role: 'user', content: `${system.content}\n\n${first.content}` }, ...rest]);
      } catch {
        throw this.failure(error);
      }
    }
  }

  private run(messages: TemplateMessage[]): string {
    const inputLength = messages.reduce((sum, message) => sum + message.content.length, 0);
    return runTemplate(
      this.program,
      { messages, add_generation_prompt: true, bos_token: this.tokens.bos, eos_token: this.tokens.eos },
      inputLength,
    );
  }

  private failure(error: unknown): HunchError {
    const why =
      error instanceof TemplateLimitError ? `it takes ${error.message}` : `it says: ${(error as Error).message}`;
    return new HunchError(
      'model-invalid',
      `The chat template of "${this.fileName}" does not work (${why}). Choose another model or another conversion of it.`,
      { cause: error },
    );
  }
}
