import { Environment, Interpreter, Template, parse, tokenize } from '@huggingface/jinja';
import vm from 'node:vm';

/** A template comes with a downloaded file: it gets this much and no more. */
export const templateCaps = {
  sourceLength: 256 * 1024, // characters
  steps: 2_000_000, // evaluated expressions and statements
  milliseconds: 2000,
  listLength: 100_000, // entries of any list it builds
  grownBy: 1_000_000, // characters of any text beyond what it was given
};

/** Which limit a template hit. */
export class TemplateLimitError extends Error {}

type Program = ReturnType<typeof parse>;
type Value = ReturnType<Interpreter['evaluate']>;

class LimitedInterpreter extends Interpreter {
  private steps = 0;

  constructor(
    environment: Environment,
    private readonly longestText: number,
  ) {
    super(environment);
  }

  override evaluate(...args: Parameters<Interpreter['evaluate']>): Value {
    if (++this.steps > templateCaps.steps) throw new TemplateLimitError(`more than ${templateCaps.steps} steps`);
    const result = super.evaluate(...args);
    const { value } = result as { value: unknown };
    if (typeof value === 'string' && value.length > this.longestText) {
      throw new TemplateLimitError(`a text of more than ${this.longestText} characters`);
    }
    if (Array.isArray(value) && value.length > templateCaps.listLength) {
      throw new TemplateLimitError(`a list of more than ${templateCaps.listLength} entries`);
    }
    return result;
  }
}

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const length = Math.max(Math.ceil((to - from) / step), 0);
  if (!(length <= templateCaps.listLength)) throw new TemplateLimitError(`a range of ${length}`);
  return Array.from({ length }, (_, index) => from + index * step);
}

/** The library keeps its date formatter to itself; a template of one call reaches it. */
const dateTemplate = new Template('{{ strftime_now(format) }}');

/** Throws SyntaxError or TemplateLimitError. */
export function parseTemplate(source: string): Program {
  if (source.length > templateCaps.sourceLength) {
    throw new TemplateLimitError(`more than ${templateCaps.sourceLength} characters`);
  }
  return parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
}

/**
 * Runs a template over `variables` (plain data). Steps and sizes are counted by the interpreter; the clock is watched by
 * V8 itself (vm's timeout ends whatever JavaScript runs below it), so no template hangs the process.
 * Throws TemplateLimitError, or what the template raised.
 */
export function runTemplate(program: Program, variables: Record<string, unknown>, inputLength: number): string {
  const environment = new Environment();
  for (const [name, value] of Object.entries({ true: true, false: false, none: null })) {
    environment.set(name, value);
    environment.set(name.charAt(0).toUpperCase() + name.slice(1), value);
  }
  environment.set('raise_exception', (message: unknown) => {
    throw new Error(String(message));
  });
  environment.set('range', range);
  environment.set('strftime_now', (format: unknown) => dateTemplate.render({ format: String(format) }));
  for (const [name, value] of Object.entries(variables)) environment.set(name, value);

  const interpreter = new LimitedInterpreter(environment, inputLength + templateCaps.grownBy);
  const run = (): string => String(interpreter.run(program).value);
  try {
    return vm.runInNewContext('run()', { run }, { timeout: templateCaps.milliseconds }) as string;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
      throw new TemplateLimitError(`more than ${templateCaps.milliseconds / 1000} s`);
    }
    if (error instanceof RangeError) throw new TemplateLimitError(`too deep or too large (${error.message})`);
    throw error;
  }
}
