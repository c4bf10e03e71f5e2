import { progress } from '../lib/ui.mjs';
import { llamaBench } from './llama-cpp.mjs';
import { nodeLlamaCppStream } from './node-llama-cpp.mjs';
import { bandwidth, makeRow } from './rows.mjs';
import { hunch } from './run-json.mjs';

const stream = { prompt: 128, decode: 128 };

/** Every measurement is a process of its own, ours and the peer's in turn: what slows the machine meets both. */
export async function inTurn(repetitions, label, sides) {
  const failures = new Map();
  for (let run = 1; run <= repetitions; run++) {
    for (const [name, measure] of Object.entries(sides)) {
      if (failures.has(name)) continue;
      progress(`${label}: ${run} of ${repetitions}, ${name}`);
      try {
        await measure();
      } catch (error) {
        if (name === 'Hunch') throw error;
        failures.set(name, error.message);
      }
    }
  }
  return failures;
}

/**
 * Prefill and decode of one file beside llama.cpp.
 * @param {{label: string, file: string, peerFile: string | null, reason?: string, pp: number, tg: number,
 *   depth?: number, note?: string}} model `reason` says why there is no peer
 */
export async function measureModel(model, { repetitions, threads, peer, peerProblem }) {
  const { label, file, pp, tg, depth = 0, note } = model;
  const peerFile = peer ? model.peerFile : null;
  const [ours, theirs] = [
    { pp: [], tg: [] },
    { pp: [], tg: [] },
  ];
  const read = { weightBytesPerToken: 0, readGBps: [] };
  const at = depth > 0 ? `@d${depth}` : '';
  let used = threads;
  const sides = {
    Hunch: async () => {
      const args = ['--reps', 1, '--pp', pp, '--tg', tg, '--depth', depth, '--threads', threads].map(String);
      const result = await hunch('bench', '--model', file, ...args);
      used = result.threads;
      if (pp > 0) ours.pp.push(result[`pp${pp}${at}`].mean);
      if (tg > 0) ours.tg.push(result[`tg${tg}${at}`].mean);
      read.weightBytesPerToken = result.weightBytesPerToken;
      read.readGBps.push(result.readGBps);
    },
    ...(peerFile && {
      'llama.cpp': async () => {
        const result = await llamaBench(peer, { file: peerFile, pp, tg, depth, threads: used });
        if (pp > 0) theirs.pp.push(result.pp);
        if (tg > 0) theirs.tg.push(result.tg);
      },
    }),
  };
  const failures = await inTurn(repetitions, label, sides);
  const shared = { label, unit: 'tok/s', peer: 'llama.cpp', threads: used, ...(note ? { note } : {}) };
  const reason = peerFile ? failures.get('llama.cpp') : peer ? model.reason : peerProblem;
  return [
    ...(tg > 0
      ? [
          makeRow({
            ...{ ...shared, metric: `tg${tg}${at}`, ours: ours.tg, theirs: theirs.tg, reason },
            ...bandwidth(ours.tg, read),
          }),
        ]
      : []),
    ...(pp > 0 ? [makeRow({ ...shared, metric: `pp${pp}${at}`, ours: ours.pp, theirs: theirs.pp, reason })] : []),
  ];
}

/**
 * Decode of a shape that leaves out neurons and heads, beside llama.cpp, which computes all of them, and beside our own dense steps in the
 * same process.
 * @param {{label: string, file: string, peerFile: string | null, shape: string, type: string, density: number, heads?: number, tg: number,
 *   note?: string}} model
 */
export async function measureSparse(model, { repetitions, threads, peer, peerProblem }) {
  const { label, shape, type, density, heads, tg, peerFile, note } = model;
  const [sparse, dense, theirs, forced] = [[], [], [], []];
  let used = threads;
  const sides = {
    Hunch: async () => {
      const shares = ['--density', density, ...(heads === undefined ? [] : ['--heads', heads])];
      const args = [
        '--shape',
        shape,
        '--type',
        type,
        '--reps',
        1,
        '--pp',
        0,
        '--tg',
        tg,
        '--threads',
        threads,
        ...shares,
      ];
      const result = await hunch('bench', ...args.map(String));
      used = result.threads;
      sparse.push(result.forced.sparse.tokensPerSecond);
      dense.push(result.forced.dense.tokensPerSecond);
      forced.push(result.forced);
    },
    ...(peer &&
      peerFile && {
        'llama.cpp': async () => {
          theirs.push((await llamaBench(peer, { file: peerFile, pp: 0, tg, threads: used })).tg);
        },
      }),
  };
  const failures = await inTurn(repetitions, label, sides);
  const reason = peer && peerFile ? failures.get('llama.cpp') : peerProblem;
  const last = forced[forced.length - 1];
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  const metric = `tg${tg}, ${percent(last.sparse.density)} of the neurons${heads === undefined ? '' : `, ${percent(last.headShare)} of the heads`}`;
  const shared = { label, unit: 'tok/s', threads: used, ...(note ? { note } : {}) };
  const detail = {
    ...{ density: last.sparse.density, named: last.sparse.named, headShare: last.headShare },
    ...{ bytesPerToken: last.sparse.bytesPerToken, predictorShare: last.sparse.predictorShare, oracle: last.oracle },
  };
  return [
    makeRow({ ...shared, metric, peer: 'llama.cpp, dense', ours: sparse, theirs, reason, ...detail }),
    makeRow({ ...shared, metric, peer: 'Hunch, dense', ours: sparse, theirs: dense, ...detail }),
  ];
}

/**
 * Through JavaScript, as a desktop app would use it: a prompt of 128 tokens, 128 tokens out. node-llama-cpp runs with as
 * many threads as Hunch and with one; the better of the two counts.
 */
export async function measureStream({ label, file }, { repetitions, threads, node, nodeProblem }) {
  const ours = { first: [], rate: [] };
  const theirs = new Map(); // by threads
  let used = threads;
  const other = (count) => async () => {
    const own = count ?? used;
    const result = await nodeLlamaCppStream(node, { file, threads: own, ...stream });
    const list = theirs.get(own) ?? { first: [], rate: [] };
    list.first.push(result.timeToFirstTokenMs);
    list.rate.push(result.tokensPerSecond);
    theirs.set(own, list);
  };
  const sides = {
    Hunch: async () => {
      const args = ['--reps', 1, '--pp', stream.prompt, '--tg', stream.decode, '--threads', threads].map(String);
      const result = await hunch('bench', '--model', file, '--stream', ...args);
      used = result.threads;
      ours.first.push(result.stream.timeToFirstTokenMs.mean);
      ours.rate.push(result.stream.tokensPerSecond.mean);
    },
    ...(node && { 'node-llama-cpp': other(null), 'node-llama-cpp, 1 thread': other(1) }),
  };
  const failures = await inTurn(repetitions, label, sides);
  const row = (metric, unit, better, key) => {
    const candidates = [...theirs].map(([count, lists]) =>
      makeRow({
        ...{ label, metric, unit, better, peer: `node-llama-cpp, ${count} thread${count === 1 ? '' : 's'}` },
        ...{ ours: ours[key], theirs: lists[key], threads: used },
      }),
    );
    candidates.sort((a, b) => (better === 'lower' ? b.ratio - a.ratio : a.ratio - b.ratio));
    const reason = node ? [...failures.values()][0] : nodeProblem;
    const without = { label, metric, unit, better, peer: 'node-llama-cpp', ours: ours[key], theirs: [], reason };
    return candidates[0] ?? makeRow({ ...without, threads: used });
  };
  return [
    row(`stream tg${stream.decode}`, 'tok/s', 'higher', 'rate'),
    row(`first token, prompt of ${stream.prompt}`, 'ms', 'lower', 'first'),
  ];
}
