import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { GpuReport } from '../../../electron/contract/devices';
import { hasNvidia } from '../../../electron/engine/gpuHardware';

const nothing: GpuReport = {
  built: true,
  driver: '',
  gpus: [],
  problem: 'There is no NVIDIA driver on this computer.',
};
const gpu = { name: 'GTX 1080', memory: 8e9, capability: 6.1, usable: false, problem: 'Too old.' };

describe('NVIDIA hardware', () => {
  let pci: string;
  beforeEach(() => {
    pci = mkdtempSync(path.join(tmpdir(), 'hunch-pci-'));
  });
  afterEach(() => rmSync(pci, { recursive: true, force: true }));
  const card = (slot: string, vendor: string, kind: string): void => {
    mkdirSync(path.join(pci, slot));
    writeFileSync(path.join(pci, slot, 'vendor'), `${vendor}\n`);
    writeFileSync(path.join(pci, slot, 'class'), `${kind}\n`);
  };

  it('is there when the driver is, whatever the bus says', async () => {
    expect(await hasNvidia({ ...nothing, driver: '12.2' }, pci)).toBe(true);
    expect(await hasNvidia({ ...nothing, gpus: [gpu] }, pci)).toBe(true);
  });

  it('is found on the bus without a driver: as VGA or 3D controller, not as sound', async () => {
    card('0000:00:02.0', '0x8086', '0x030000');
    card('0000:01:00.1', '0x10de', '0x040300');
    expect(await hasNvidia(nothing, pci)).toBe(false);
    card('0000:01:00.0', '0x10de', '0x030200');
    expect(await hasNvidia(nothing, pci)).toBe(true);
  });

  it('is not there where no bus can be read', async () => {
    expect(await hasNvidia(nothing, path.join(pci, 'nowhere'))).toBe(false);
  });
});
