import { mkdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { exec } from '../lib/exec.mjs';
import { inTurn } from './measure.mjs';
import { llamaBench } from './llama-cpp.mjs';
import { makeRow } from './rows.mjs';
import { hunch } from './run-json.mjs';

/** Of the memory limit, for all that is no weight: Node, what a session works in, the page cache's least. */
const besideWeights = 240e6;

/**
 * Decode of a model that is twice as large as the memory it may use (a memory cgroup of its own for each process), beside llama.cpp, which maps the
 * file, and our own dense steps, which stream all neurons.
 * @param {{label: string, file: string, peerFile: string, shape: string, type: string, density: number, note?: string}} model
 */
export async function measureDisk(model, { repetitions, threads, peer, peerProblem }) {
  const { label, shape, type, density, file, peerFile, note } = model;
  const limit = Math.floor(statSync(file).size / 2);
  const group = memoryGroup(limit);
  const [sparse, dense, theirs, details] = [[], [], [], []];
  let used = threads;
  const args = ['--shape', shape, '--type', type, '--reps', 1, '--pp', 0, '--tg', 8, '--threads', threads];
  try {
    const sides = {
      Hunch: async () => {
        await forget(file);
        const memory = ['--memory', `${limit - besideWeights}B`, '--density', density];
        const result = await hunch.within(group.enter)('bench', ...[...args, ...memory].map(String));
        used = result.threads;
        sparse.push(result.disk.tokensPerSecond.mean);
        dense.push(result.tg8.mean);
        details.push({ ...result.disk, tokensPerSecond: undefined });
      },
      ...(peer && {
        'llama.cpp': async () => {
          await forget(peerFile);
          // Repacked weights would be a copy in memory.
          const how = ['--repack', '0', '-lm', 'mmap'];
          const result = await llamaBench(
            { ...peer, enter: group.enter },
            { file: peerFile, pp: 0, tg: 4, threads: used },
            how,
          );
          theirs.push(result.tg);
        },
      }),
    };
    // Makes the neuron file, once.
    await hunch(
      'bench',
      ...[...args.slice(0, 4), '--pp', 0, '--tg', 1, '--reps', 1, '--memory', `${limit}B`].map(String),
    );
    const failures = await inTurn(repetitions, label, sides);
    const reason = peer ? failures.get('llama.cpp') : peerProblem;
    const last = details[details.length - 1];
    const metric = `decode, ${(100 * last.named).toFixed(0)} % of the neurons, in ${(limit / 1e6).toFixed(0)} MB`;
    const shared = {
      label,
      metric,
      unit: 'tok/s',
      threads: used,
      limitBytes: limit,
      ...(note ? { note } : {}),
      disk: details,
    };
    return [
      makeRow({ ...shared, peer: 'llama.cpp, dense, mmap', ours: sparse, theirs, reason }),
      makeRow({ ...shared, peer: 'Hunch, dense, from disk', ours: sparse, theirs: dense }),
    ];
  } finally {
    group.remove();
  }
}

/** What the system keeps of a file from before would not count as the process's memory. */
const forget = (file) => exec('dd', [`if=${file}`, 'iflag=nocache', 'count=0']);

/** A memory cgroup (version 1 or 2). Errors: a sentence where the system or its rights do not allow one. */
function memoryGroup(bytes) {
  const name = `hunch-bench-${process.pid}`;
  const kinds = [
    { folder: `/sys/fs/cgroup/memory/${name}`, limit: 'memory.limit_in_bytes' },
    { folder: `/sys/fs/cgroup/${name}`, limit: 'memory.max' },
  ];
  for (const { folder, limit } of kinds) {
    try {
      mkdirSync(folder);
      writeFileSync(`${folder}/${limit}`, String(bytes));
      return {
        enter: ['sh', '-c', `echo $$ > ${folder}/cgroup.procs && exec "$@"`, 'sh'],
        remove: () => rmdirSync(folder),
      };
    } catch {
      // the other kind, or none
    }
  }
  throw new Error('--disk needs a memory cgroup: run it on Linux as root.');
}
