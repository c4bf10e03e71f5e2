import { HunchError } from '../contract/errors';

/** How text is cut into words before BPE, by the name in `tokenizer.ggml.pre`. Patterns are Oniguruma's. */
export interface PreTokenizer {
  /** Applied one after the other; matches and what lies between them become words. */
  patterns: string[];
  /** A word that is itself a token is taken whole, whatever the merges say. */
  ignoreMerges?: boolean;
  /** Whether BOS is added where the file does not say. */
  addBos?: boolean;
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const llama3Words = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const gpt2: PreTokenizer = { patterns: [gpt2Words] };
const smollm: PreTokenizer = { patterns: ['\\p{N}', gpt2Words] };
const llama3: PreTokenizer = { patterns: [llama3Words('\\p{N}{1,3}')], ignoreMerges: true, addBos: true };
const qwen2: PreTokenizer = { patterns: [llama3Words('\\p{N}')] };

/** A new one is a line here, checked against its model's own tokenizer. */
const preTokenizers: Readonly<Record<string, PreTokenizer>> = {
  'gpt-2': gpt2,
  smollm,
  starcoder: smollm,
  refact: smollm,
  'llama-bpe': llama3,
  llama3,
  'llama-v3': llama3,
  qwen2,
  'deepseek-r1-qwen': qwen2,
  default: { patterns: ['[\\p{P}\\$\\+<=>\\^~\\|]+', gpt2Words, '\\p{N}+', '[0-9][0-9][0-9]'] },
};

/** Error: model-unsupported. */
export function preTokenizer(name: string, fileName: string): PreTokenizer {
  const found = Object.hasOwn(preTokenizers, name) ? preTokenizers[name] : undefined;
  if (found) return found;
  throw new HunchError(
    'model-unsupported',
    `"${fileName}" uses the pre-tokenizer "${name}". Hunch has: ${Object.keys(preTokenizers).join(', ')}. Choose another model.`,
  );
}
