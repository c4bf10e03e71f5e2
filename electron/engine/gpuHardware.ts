import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { GpuReport } from '../contract/devices';

const nvidia = '0x10de';
/** Of PCI: display controllers. */
const display = '0x03';

/**
 * Whether this computer has NVIDIA hardware, so that it is worth telling why it is not used. Without NVIDIA's driver only Linux can
 * say so; elsewhere the answer is then no.
 */
export async function hasNvidia(report: GpuReport, pci = '/sys/bus/pci/devices'): Promise<boolean> {
  if (report.driver !== '' || report.gpus.length > 0) return true;
  const folders = await readdir(pci).catch(() => []);
  const read = (folder: string, name: string): Promise<string> =>
    readFile(path.join(pci, folder, name), 'utf8').then(
      (text) => text.trim(),
      () => '',
    );
  const found = await Promise.all(
    folders.map(
      async (folder) => (await read(folder, 'vendor')) === nvidia && (await read(folder, 'class')).startsWith(display),
    ),
  );
  return found.includes(true);
}
