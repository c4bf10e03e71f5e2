import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { byteSize, withModelOptions, type ModelOptions } from '../../../electron/cli/options';

describe('--gpu-budget', () => {
  it.each([
    ['3GB', 3e9],
    ['800 mb', 8e8],
    ['1.5gb', 1.5e9],
    ['64kB', 64e3],
    ['4096 B', 4096],
  ])('%s is %d bytes', (text, bytes) => expect(byteSize(text)).toBe(bytes));

  it.each(['', '0', '4096', '-1GB', '3 TB', 'GB', '3GB and more', '1e3', '9999999GB'])('refuses %j', (text) => {
    expect(() => byteSize(text)).toThrow(/size like/);
  });

  it('stands beside --device', () => {
    const command = withModelOptions(new Command('run')).exitOverride();
    command.parse(['--device', 'cuda', '--gpu-budget', '2GB'], { from: 'user' });
    expect(command.opts<ModelOptions>()).toMatchObject({ device: 'cuda', gpuBudget: 2e9 });
  });
});
