// A process of its own: loads a model with node-llama-cpp and prints how fast tokens come out of it, as JSON.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const { folder, file, threads, prompt, decode } = JSON.parse(process.argv[2]);
const entry = createRequire(join(folder, 'package.json')).resolve('node-llama-cpp');
const { getLlama } = await import(pathToFileURL(entry).href);

const llama = await getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: 'error' });
const model = await llama.loadModel({ modelPath: file, gpuLayers: 0 });
const context = await model.createContext({ contextSize: prompt + decode + 8, threads, sequences: 1 });
const sequence = context.getSequence();
// Fixed ids that every vocabulary measured here has.
const smallestVocabulary = 30_000;

async function stream(run) {
  await sequence.clearHistory();
  // As on our side, shifted by one each run, so that no prompt is in a cache.
  const tokens = Array.from({ length: prompt }, (_, index) => ((index + run + 1) * 7919) % smallestVocabulary);
  const begin = performance.now();
  let [firstAt, lastAt, count] = [0, 0, 0];
  for await (const _token of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
    lastAt = performance.now();
    if (count++ === 0) firstAt = lastAt;
    if (count === decode) break;
  }
  return { timeToFirstTokenMs: firstAt - begin, tokensPerSecond: ((count - 1) / (lastAt - firstAt)) * 1000, count };
}

await stream(0);
const result = await stream(1);
if (result.count !== decode) throw new Error(`${result.count} of ${decode} tokens came`);
process.stdout.write(JSON.stringify({ threads: context.currentThreads, ...result }));
await llama.dispose();
