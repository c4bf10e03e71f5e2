import { describe, expect, it } from 'vitest';
import { hunch } from '../unit/cli/captured';

describe('hunch bench', () => {
  it('takes its lengths, a depth and the view from JavaScript', async () => {
    const args = ['--reps', '2', '--pp', '16', '--tg', '4', '--depth', '300', '--stream'];
    const result = JSON.parse((await hunch('bench', ...args, '--json')).stdout) as Record<string, unknown>;
    expect(result).toMatchObject({
      ...{
        repetitions: 2,
        depth: 300,
        'pp16@d300': { mean: expect.any(Number) },
        'tg4@d300': { mean: expect.any(Number) },
      },
      stream: { promptTokens: 16, tokens: 4 },
    });
    expect(result).not.toHaveProperty('synthetic');
    const { timeToFirstTokenMs, tokensPerSecond } = result['stream'] as Record<string, { mean: number }>;
    expect(timeToFirstTokenMs!.mean).toBeGreaterThan(0.1);
    expect(tokensPerSecond!.mean).toBeGreaterThan(1);

    const text = await hunch('bench', '--reps', '1', '--pp', '0', '--tg', '4');
    expect(text.stdout).toMatch(/^decode {2}tg4 +[\d.]+ ± 0\.0 tok\/s$/m);
    expect(text.stdout).not.toMatch(/prefill|synthetic/);
  });

  it('refuses what the context does not hold', async () => {
    const { stderr, exitCode } = await hunch('bench', '--depth', '8192', '--tg', '1');
    expect(stderr).toMatch(/needs 8704 tokens, but the model's context is 8192/);
    expect(exitCode).toBe(1);
  });
});
