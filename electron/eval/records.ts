import { HunchError } from '../contract/errors';

/** What one line of an evaluation file asks, as lm-evaluation-harness would put it to a model. */
export interface EvalRecord {
  line: number; // from 1
  /** choices: one context, several continuations. contexts: several contexts, one continuation. cloze: one of each. */
  kind: 'choices' | 'contexts' | 'cloze';
  requests: { context: string; continuation: string }[];
  /** Index of the right request. */
  gold: number;
  /** The texts that a log-likelihood is divided by the length of: without the delimiter. */
  answers: string[];
}

/** Between a query and its answer, unless the answer brings its own. */
const delimiter = ' ';

const forms =
  '{"query", "choices", "gold"}, {"context", "continuation"} or {"context_options", "continuation", "gold"}';

/** Reads a JSONL file's text. Empty lines do not count. Error: bad-request, which names the line and what is wrong. */
export function parseRecords(text: string, fileName: string, limit = Infinity): EvalRecord[] {
  const records: EvalRecord[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (records.length >= limit) break;
    const content = index === 0 ? line.replace(/^\uFEFF/, '') : line;
    if (content.trim() === '') continue;
    records.push(parseRecord(content, index + 1, fileName));
  }
  if (records.length === 0) {
    throw new HunchError('bad-request', `${fileName} has no records. Each line must be one of ${forms}.`);
  }
  return records;
}

function parseRecord(text: string, line: number, fileName: string): EvalRecord {
  const wrong = (what: string): HunchError => new HunchError('bad-request', `${fileName}, line ${line}: ${what}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong(`it is not JSON (${(error as Error).message}).`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(`it must be an object, one of ${forms}.`);
  }
  const record = value as Record<string, unknown>;
  const isText = (item: unknown): item is string => typeof item === 'string' && item !== '';
  const string = (key: string): string => {
    const item = record[key];
    if (typeof item !== 'string') throw wrong(`"${key}" must be a text, but is ${shown(item)}.`);
    return item;
  };
  const filled = (key: string): string => {
    if (string(key) === '') throw wrong(`"${key}" is empty, so there is nothing to score.`);
    return string(key);
  };
  const options = (key: string): string[] => {
    const list = record[key];
    if (!Array.isArray(list) || list.length < 2 || !list.every(isText)) {
      throw wrong(`"${key}" must be a list of at least two texts that are not empty, but is ${shown(list)}.`);
    }
    return list;
  };
  const gold = (list: string[], key: string): number => {
    const item = record['gold'];
    const index = typeof item === 'string' ? list.indexOf(item) : item;
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= list.length) {
      throw wrong(
        `"gold" must be the index of the right one of "${key}" (0 to ${list.length - 1}) or its text, but is ${shown(item)}.`,
      );
    }
    return index;
  };

  if ('choices' in record) {
    const [query, answers] = [string('query'), options('choices')];
    const requests = answers.map((answer) => ({ context: query, continuation: delimited(answer) }));
    return { line, kind: 'choices', requests, gold: gold(answers, 'choices'), answers };
  }
  if ('context_options' in record) {
    const [contexts, continuation] = [options('context_options'), filled('continuation')];
    const requests = contexts.map((context) => ({ context, continuation: delimited(continuation) }));
    const answers = contexts.map(() => continuation);
    return { line, kind: 'contexts', requests, gold: gold(contexts, 'context_options'), answers };
  }
  if ('context' in record || 'continuation' in record) {
    const request = { context: string('context'), continuation: filled('continuation') };
    return { line, kind: 'cloze', requests: [request], gold: 0, answers: [request.continuation] };
  }
  throw wrong(`it has the keys ${Object.keys(record).join(', ') || '(none)'}, but must be one of ${forms}.`);
}

const delimited = (answer: string): string => (/^\s/.test(answer) ? answer : delimiter + answer);

function shown(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
