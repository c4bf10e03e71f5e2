import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { Journal } from '../../../electron/sparsity/journal';

const place = (): string => path.join(mkdtempSync(path.join(tmpdir(), 'hunch-journal-')), 'progress.json');
const never = (): Promise<never> => Promise.reject(new Error('made again'));

describe('a journal', () => {
  it('gives a later run what an earlier one found', async () => {
    const file = place();
    const first = new Journal(file, 'model a');
    expect(await first.remember('x', async () => [1, 2])).toEqual([1, 2]);
    first.save();
    const second = new Journal(file, 'model a');
    expect(await second.remember('x', never)).toEqual([1, 2]);
    expect(await second.remember('y', async () => 3)).toBe(3);
    second.remove();
    expect(existsSync(file)).toBe(false);
  });

  it('forgets what was found for something else, and what it cannot read', async () => {
    const file = place();
    const first = new Journal(file, 'model a');
    await first.remember('x', async () => 1);
    first.save();
    await expect(new Journal(file, 'model b').remember('x', never)).rejects.toThrow('made again');
    writeFileSync(file, '{"identity": "model a", "resul');
    await expect(new Journal(file, 'model a').remember('x', never)).rejects.toThrow('made again');
  });

  it('does not remember failures', async () => {
    const journal = new Journal(place(), 'a');
    await expect(journal.remember('x', never)).rejects.toThrow();
    expect(await journal.remember('x', async () => 1)).toBe(1);
  });

  it('says where it cannot write', () => {
    const file = place();
    writeFileSync(file, '');
    expect(() => new Journal(path.join(file, 'inside'), 'a').save()).toThrow(/inside could not be written/);
  });
});
