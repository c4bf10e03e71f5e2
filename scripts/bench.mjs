// `npm run bench`: this checkout's engine beside llama.cpp and node-llama-cpp, on this machine. docs/bench.md explains it.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { measureDisk } from './bench/disk.mjs';
import { findLlamaCpp, requantised } from './bench/llama-cpp.mjs';
import { describeCommit, describeMachine } from './bench/machine.mjs';
import { measureModel, measureSparse, measureStream } from './bench/measure.mjs';
import { findNodeLlamaCpp } from './bench/node-llama-cpp.mjs';
import { readOptions, usage } from './bench/options.mjs';
import { table } from './bench/rows.mjs';
import { hunch } from './bench/run-json.mjs';
import { inRoot, root } from './lib/paths.mjs';
import { runSteps } from './lib/run-steps.mjs';
import { reportFailure, reportTo, say, seconds } from './lib/ui.mjs';
import { terminalChat } from './steps/index.mjs';
import { modelsFolder, stockModel, stockModelId } from './steps/stock-model.mjs';

const quiet = 0.5; // load average above which other programs disturb

reportTo(process.stderr); // stdout is the report's
let options;
try {
  options = readOptions(process.argv.slice(2));
} catch (error) {
  say(`${error.message}\n\n${usage}`);
  process.exit(1);
}
if (options.help) {
  process.stdout.write(`${usage}\n`);
  process.exit(0);
}
try {
  process.exitCode = (await runSteps([...terminalChat(), stockModel])) ? await main() : 1;
} catch (error) {
  reportFailure('Benchmark', error);
  process.exitCode = 1;
}

async function main() {
  const begin = performance.now();
  const machine = describeMachine(); // the load, before we make it
  if (machine.load > quiet) {
    say(`⚠ The load average is ${machine.load}: other programs run, and both sides' figures will suffer from it.`);
  }
  const [peer, peerProblem] = await attempt(findLlamaCpp);
  const [node, nodeProblem] = options.nodeLlamaCpp ? await attempt(findNodeLlamaCpp) : [null, 'not asked for'];
  const how = { ...options, peer, peerProblem, node, nodeProblem };

  const rows = [];
  const starter = await starterFile();
  const models = options.disk.length > 0 ? [] : await chooseModels(starter, how);
  for (const model of models) rows.push(...(await measureModel(model, { ...how, ...model.how })));
  for (const chosen of options.sparse) {
    rows.push(...(await measureSparse({ ...(await shapeFiles(chosen)), ...chosen, tg: 16 }, how)));
  }
  for (const chosen of options.disk)
    rows.push(...(await measureDisk({ ...(await shapeFiles(chosen)), ...chosen }, how)));
  if (options.nodeLlamaCpp) rows.push(...(await measureStream({ label: 'SmolLM2 Q4_1', file: starter }, how)));

  const report = {
    date: new Date().toISOString(),
    ...describeCommit(),
    machine,
    protocol: {
      description:
        'Every measurement is a process of its own with a warm-up and one measured run; Hunch and the peer take turns (A B A B …). Medians. ratio = Hunch / peer.',
      ...{ repetitions: options.repetitions, threads: rows[0]?.threads, quick: options.quick },
      readGBps: 'measured by Hunch with the same threads over a buffer of weightBytesPerToken, median',
      peers: [peer, node].filter(Boolean).map(({ name, version }) => ({ name, version })),
    },
    rows,
  };
  if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else process.stdout.write(`\n${heading(report)}\n\n${table(rows)}\n`);
  for (const note of new Set(rows.flatMap((row) => row.note ?? []))) say(note);
  if (options.save) say(`Saved as ${save(report)} (${seconds(performance.now() - begin)}).`);
  return 0;
}

/** A peer that cannot be had leaves its column empty; the rest is measured all the same. */
async function attempt(work) {
  try {
    return [await work(), undefined];
  } catch (error) {
    reportFailure('Peer', error);
    return [null, error.message.split('\n')[0]];
  }
}

async function starterFile() {
  const { models } = await hunch('models');
  return join(modelsFolder(), models.find(({ id }) => id === stockModelId).fileName);
}

async function chooseModels(starter, { peer, peerProblem }) {
  const usual = { pp: 512, tg: 128 };
  const models = [{ label: 'SmolLM2 Q4_1', file: starter, peerFile: starter, ...usual }];
  if (!options.quick && peer) {
    for (const type of ['Q4_0', 'Q8_0']) {
      const name = 'smollm2-135m-instruct';
      const file = await requantised(peer, { from: starter, name, type, threads: Math.max(1, options.threads) });
      models.push({ label: `SmolLM2 ${type}`, file, peerFile: file, ...usual });
    }
  } else if (!options.quick) say(`SmolLM2 Q4_0 and Q8_0 are left out: llama-quantize makes them (${peerProblem}).`);
  if (options.gemma) {
    const file = resolve(process.env.INIT_CWD ?? '.', options.gemma);
    if (!existsSync(file)) throw new Error(`--gemma names ${file}, which does not exist.`);
    models.push({ label: basename(file, '.gguf'), file, peerFile: file, ...usual });
  }
  for (const chosen of options.shapes) models.push({ ...(await shapeFiles(chosen)), pp: 32, tg: 16 });
  if (options.growth) {
    const shape = await shapeFiles({ shape: 'llama-3.2-1b', type: 'q4_0' });
    // A context of 8192 takes a minute to fill, each time anew.
    const how = { repetitions: Math.min(options.repetitions, 3) };
    for (const depth of [0, 2048, 8192]) models.push({ ...shape, pp: 0, tg: 32, depth, how });
  }
  return models;
}

async function shapeFiles({ shape, type }) {
  say(`• shape ${shape} ${type}`);
  const own = await hunch('shape', shape, '--type', type);
  const other = await hunch('shape', shape, '--type', type, '--for-peer');
  const stand =
    other.path === own.path
      ? ''
      : other.architecture === own.architecture
        ? '; llama.cpp runs the same sizes with its down projections stored by output'
        : `; llama.cpp has no ${own.architecture} and runs the same sizes as ${other.architecture}`;
  const note = `${shape}: ${own.synthetic}${stand}`;
  return { label: `${shape} ${type} (synthetic)`, file: own.path, peerFile: other.path, note };
}

function heading({ machine, protocol, commit, dirty }) {
  const memory = (machine.memoryBytes / 2 ** 30).toFixed(0);
  return [
    `${machine.cpu}, ${machine.logicalCores} logical cores, ${memory} GiB, ${machine.system}`,
    `Commit ${commit.slice(0, 7)}${dirty ? ' with changes' : ''}; ${protocol.threads} threads; median (min–max) of ${protocol.repetitions}; peers: ` +
      (protocol.peers.map(({ name, version }) => `${name} ${version}`).join(', ') || 'none'),
  ].join('\n');
}

function save(report) {
  const folder = inRoot('bench', 'results');
  mkdirSync(folder, { recursive: true });
  const name = `${report.date.slice(0, 10)}-${report.commit.slice(0, 7)}`;
  let file = join(folder, `${name}.json`);
  for (let number = 2; existsSync(file); number++) file = join(folder, `${name}-${number}.json`);
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
  return file.slice(root.length + 1);
}
