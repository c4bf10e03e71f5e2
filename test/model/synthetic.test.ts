import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Runtime } from '../../electron/engine/runtime';
import { blockTypeNames } from '../../electron/models/synthetic/blockTypes';
import { writeShape } from '../../electron/models/synthetic/writeShape';
import { tinyShape } from '../unit/synthetic/tinyShape';

const folder = mkdtempSync(path.join(tmpdir(), 'hunch-shapes-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('a synthetic model', () => {
  it.each(blockTypeNames)('of %s runs and gives logits of a sane size', async (type) => {
    const runtime = await Runtime.open(await writeShape(tinyShape(), type, { folder }));
    const session = runtime.openSession(64);
    const logits = Array.from(await session.logits(Int32Array.from({ length: 40 }, (_, index) => (index * 37) % 600)));
    session.close();
    await runtime.close();
    expect(logits.every(Number.isFinite)).toBe(true);
    const deviation = Math.sqrt(logits.reduce((sum, logit) => sum + logit * logit, 0) / logits.length);
    expect(deviation).toBeGreaterThan(0.3);
    expect(deviation).toBeLessThan(5);
  });
});
