import { parseArgs } from 'node:util';

export const usage = `npm run bench [-- options]: Hunch beside llama.cpp and node-llama-cpp on this machine

  --quick               3 repetitions, SmolLM2 Q4_1 only, no node-llama-cpp
  --reps N              repetitions of each measurement (5)
  --threads N           threads of both sides (one per physical core)
  --gemma PATH          a GGUF of Gemma, too
  --shapes A:T,B:T      random weights in real shapes, e.g. llama-3.2-1b:q4_0,llama-2-7b:q4_k
  --sparse A:T:D[:H]    a shape whose layers compute the share D of their neurons and H of their heads, e.g.
                        prosparse-llama-2-7b:q4_0:0.11,opt-6.7b:q4_0:0.10:0.42
  --disk A:T:D          only this: a shape in half as much memory as its file has bytes, the share D of its neurons named by a token, e.g.
                        relu-starter-4b:q4_0:0.11 (Linux, as root: each process runs in a memory cgroup)
  --growth              tok/s after 0, 2048 and 8192 tokens of context, in the shape llama-3.2-1b q4_0
  --no-node             without node-llama-cpp
  --no-save             without a file under bench/results
  --json                one JSON object on stdout in place of the table

HUNCH_PEER=FOLDER takes llama-bench and llama-quantize from there instead of building them.`;

/** Throws an Error whose message is a sentence. */
export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      reps: { type: 'string' },
      threads: { type: 'string', default: '0' },
      gemma: { type: 'string' },
      shapes: { type: 'string' },
      sparse: { type: 'string' },
      disk: { type: 'string' },
      growth: { type: 'boolean', default: false },
      'no-node': { type: 'boolean', default: false },
      'no-save': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const { quick } = values;
  return {
    ...{ quick, help: values.help, json: values.json, gemma: values.gemma ?? null, growth: values.growth },
    repetitions: wholeNumber('--reps', values.reps ?? (quick ? '3' : '5'), 1),
    threads: wholeNumber('--threads', values.threads, 0),
    shapes: (values.shapes ?? '').split(',').filter(Boolean).map(readShape),
    sparse: (values.sparse ?? '').split(',').filter(Boolean).map(readSparse),
    disk: (values.disk ?? '').split(',').filter(Boolean).map(readSparse),
    nodeLlamaCpp: !quick && !values['no-node'] && !values.disk,
    save: !values['no-save'],
  };
}

function wholeNumber(name, text, min) {
  if (/^\d+$/.test(text) && Number(text) >= min) return Number(text);
  throw new Error(`${name} must be a whole number from ${min}, but is "${text}".`);
}

function readShape(text) {
  const [shape, type, ...rest] = text.split(':');
  if (shape && type && rest.length === 0) return { shape, type: type.toLowerCase() };
  throw new Error(`--shapes must be like llama-3.2-1b:q4_0, but has "${text}".`);
}

function readSparse(text) {
  const [shape, type, ...shares] = text.split(':');
  const [density, heads] = shares.map(Number);
  const fits = (share) => share > 0 && share <= 1;
  if (shape && type && shares.length > 0 && shares.length < 3 && shares.map(Number).every(fits)) {
    return { shape, type: type.toLowerCase(), density, heads };
  }
  throw new Error(`--sparse must be like prosparse-llama-2-7b:q4_0:0.11, but has "${text}".`);
}
