import { loadAddon } from '../engine/native';
import { print, printJson } from './output';

/** `hunch devices`: what `--device` has to choose from, and why an NVIDIA GPU cannot be used. */
export async function devices({ json }: { json?: boolean }): Promise<void> {
  const addon = loadAddon();
  const { isas, physicalCores } = addon.info();
  const report = await addon.gpus();
  if (json) {
    printJson({ command: 'devices', cpu: { isas, physicalCores }, cuda: report });
    return;
  }
  print(`cpu   ${isas[0]}, ${physicalCores} ${physicalCores === 1 ? 'core' : 'cores'}`);
  for (const { name, memory, capability, problem } of report.gpus) {
    const facts = `${(memory / 1e9).toFixed(1)} GB, compute capability ${capability.toFixed(1)}`;
    print(`cuda  ${name || 'A GPU without a name'}, ${facts}${problem === '' ? '' : `\n      ${problem}`}`);
  }
  if (report.driver !== '') print(`      NVIDIA's driver for CUDA ${report.driver}`);
  if (report.problem !== '') print(`cuda  ${report.problem}`);
}
