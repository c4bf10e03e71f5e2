import { describe, expect, it } from 'vitest';
import { parseRecords } from '../../../electron/eval/records';

const parse = (...lines: unknown[]): ReturnType<typeof parseRecords> =>
  parseRecords(lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'), 'tasks.jsonl');

describe('the three forms of a record', () => {
  it('choices: a delimiter goes before each answer', () => {
    const [record] = parse({ query: 'Question: 1 + 1?\nAnswer:', choices: ['two', ' three'], gold: 0 });
    expect(record).toEqual({
      ...{ line: 1, kind: 'choices', gold: 0, answers: ['two', ' three'] },
      requests: [
        { context: 'Question: 1 + 1?\nAnswer:', continuation: ' two' },
        { context: 'Question: 1 + 1?\nAnswer:', continuation: ' three' },
      ],
    });
  });

  it('context_options: one continuation for each context', () => {
    const [record] = parse({ context_options: ['A cat', 'A dog'], continuation: 'barks.', gold: 1 });
    expect(record).toMatchObject({ kind: 'contexts', gold: 1, answers: ['barks.', 'barks.'] });
    expect(record!.requests).toEqual([
      { context: 'A cat', continuation: ' barks.' },
      { context: 'A dog', continuation: ' barks.' },
    ]);
  });

  it('cloze: taken as it is', () => {
    const [record] = parse({ context: 'Once upon a', continuation: ' time', id: 7 });
    expect(record).toMatchObject({ kind: 'cloze', requests: [{ context: 'Once upon a', continuation: ' time' }] });
    expect(parse({ context: '', continuation: 'x' })[0]!.requests[0]!.continuation).toBe('x');
  });

  it('gold may be the answer itself', () => {
    expect(parse({ query: 'q', choices: ['a', 'b'], gold: 'b' })[0]!.gold).toBe(1);
    expect(parse({ context_options: ['x', 'y'], continuation: 'z', gold: 'y' })[0]!.gold).toBe(1);
  });
});

describe('a file', () => {
  it('may have empty lines, Windows line ends and a byte order mark', () => {
    const text = '\uFEFF{"context":"a","continuation":"b"}\r\n\r\n{"context":"c","continuation":"d"}\r\n';
    expect(parseRecords(text, 'f').map(({ line }) => line)).toEqual([1, 3]);
  });

  it('is read up to the limit only', () => {
    expect(parseRecords('{"context":"a","continuation":"b"}\nnot read', 'f', 1)).toHaveLength(1);
  });

  it.each([
    ['{"query"', /^tasks\.jsonl, line 2: it is not JSON \(/],
    ['[1]', /line 2: it must be an object, one of \{"query", "choices", "gold"\}/],
    [{ text: 'x' }, /line 2: it has the keys text, but must be one of/],
    [{ query: 'q', choices: ['a'], gold: 0 }, /line 2: "choices" must be a list of at least two texts.*is \["a"\]/],
    [{ query: 'q', choices: ['a', ''], gold: 0 }, /line 2: "choices".*not empty/],
    [{ query: 'q', choices: ['a', 3], gold: 0 }, /line 2: "choices"/],
    [{ choices: ['a', 'b'], gold: 0 }, /line 2: "query" must be a text, but is missing/],
    [{ query: 'q', choices: ['a', 'b'], gold: 2 }, /line 2: "gold" must be the index.*\(0 to 1\).*but is 2/],
    [{ query: 'q', choices: ['a', 'b'], gold: -1 }, /line 2: "gold"/],
    [{ query: 'q', choices: ['a', 'b'], gold: 0.5 }, /line 2: "gold"/],
    [{ query: 'q', choices: ['a', 'b'], gold: 'c' }, /line 2: "gold".*is "c"/],
    [{ query: 'q', choices: ['a', 'b'] }, /line 2: "gold".*is missing/],
    [{ context: 'x' }, /line 2: "continuation" must be a text, but is missing/],
    [{ context: 'x', continuation: '' }, /line 2: "continuation" is empty/],
    [{ context_options: ['x', 'y'], gold: 0 }, /line 2: "continuation"/],
  ])('says which line is wrong and how: %j', (line, message) => {
    expect(() => parse({ context: 'a', continuation: 'b' }, line)).toThrow(message);
  });

  it('needs a record', () => {
    expect(() => parse('', '  ')).toThrow(/tasks\.jsonl has no records/);
  });
});
