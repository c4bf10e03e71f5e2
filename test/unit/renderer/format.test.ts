import { describe, expect, it } from 'vitest';
import { formatBytes, formatDuration, formatRate } from '../../../renderer/lib/format';
import { dayLabel, groupByDay } from '../../../renderer/lib/groupByDay';
import { fit, samplingFields } from '../../../renderer/lib/samplingFields';
import { defaultSampling, samplingSchema } from '../../../electron/contract/entities';
import type { ReplyStats, StopReason } from '../../../electron/contract/entities';
import { statsParts } from '../../../renderer/lib/statsParts';

describe('numbers', () => {
  it('gives sizes, speeds and times in the unit that fits', () => {
    expect([0, 999, 98_362_432, 4_680_000_000].map(formatBytes)).toEqual(['0 B', '999 B', '98 MB', '4.7 GB']);
    expect([8.94, 159.3].map(formatRate)).toEqual(['8.9 tok/s', '159 tok/s']);
    expect([84.4, 1840, 12_300].map(formatDuration)).toEqual(['84 ms', '1.84 s', '12.3 s']);
  });

  it('says why a reply ended, unless it simply ended', () => {
    const stats = {
      promptTokens: 10,
      cachedTokens: 0,
      generatedTokens: 12,
      timeToFirstTokenMs: 200,
      tokensPerSecond: 50,
      stopReason: 'end' as const,
    };
    const complete = { stats, status: 'complete', provenance: null } as const;
    const because = (stopReason: StopReason) => ({ ...complete, stats: { ...stats, stopReason } });
    expect(statsParts(complete)).toEqual(['50.0 tok/s', '200 ms to first token', '12 tokens']);
    expect(statsParts(because('context'))).toContain('context full');
    expect(statsParts(because('length'))).toContain('token limit reached');
    expect(statsParts({ ...because('stopped'), status: 'stopped' })).toContain('stopped');
    expect(statsParts({ ...complete, stats: null, status: 'interrupted' })).toEqual(['interrupted']);
  });

  it('says beside the speed at which place of the slider it was reached', () => {
    const stats: ReplyStats = {
      promptTokens: 10,
      cachedTokens: 0,
      generatedTokens: 12,
      timeToFirstTokenMs: 200,
      tokensPerSecond: 50,
      stopReason: 'end',
    };
    const provenance = {
      modelId: 'm',
      modelName: 'M',
      sampling: { ...defaultSampling, seed: 1 },
      sparsity: 'balanced → fast',
    };
    expect(statsParts({ stats, status: 'complete', provenance }).slice(0, 2)).toEqual([
      '50.0 tok/s',
      'balanced → fast',
    ]);
  });
});

describe('days', () => {
  const now = new Date(2026, 2, 30, 0, 30).getTime(); // just after midnight, the day after summer time began in Europe
  it.each([
    [new Date(2026, 2, 30, 0, 1), 'Today'],
    [new Date(2026, 2, 29, 23, 59), 'Yesterday'],
    [new Date(2026, 2, 29, 0, 0), 'Yesterday'],
    [new Date(2026, 2, 28, 23, 59), 'Previous 7 days'],
    [new Date(2026, 2, 20, 12), 'Previous 30 days'],
    [new Date(2026, 0, 5, 12), 'January'],
    [new Date(2025, 10, 5, 12), 'November 2025'],
    [new Date(2026, 3, 2, 12), 'Today'], // a clock that was set back
  ])('%s is %s', (date, label) => {
    expect(dayLabel(date.getTime(), now)).toBe(label);
  });

  it('lists the newest first', () => {
    const at = (id: string, date: Date) => ({ id, title: id, createdAt: 0, updatedAt: date.getTime() });
    const groups = groupByDay(
      [at('old', new Date(2026, 2, 29, 8)), at('b', new Date(2026, 2, 30, 0, 2)), at('a', new Date(2026, 2, 30, 0, 9))],
      now,
    );
    expect(groups).toEqual([
      { label: 'Today', ids: ['a', 'b'] },
      { label: 'Yesterday', ids: ['old'] },
    ]);
  });
});

describe('sampling fields', () => {
  it('accept exactly what the contract accepts', () => {
    for (const field of samplingFields) {
      const schema = samplingSchema.shape[field.key];
      expect(schema.safeParse(field.min).success, field.key).toBe(true);
      expect(schema.safeParse(field.max).success, field.key).toBe(true);
      expect(schema.safeParse(field.min - field.step).success, field.key).toBe(false);
      expect(schema.safeParse(field.max + field.step).success, field.key).toBe(false);
    }
  });
  it('make typed numbers fit', () => {
    const field = { min: 0, max: 5, step: 0.05 };
    expect(fit(field, '0,7')).toBe(0.7);
    expect(fit(field, '9')).toBe(5);
    expect(fit(field, '-1')).toBe(0);
    expect(fit({ min: 0, max: 100, step: 1 }, '7.6')).toBe(8);
    for (const typed of ['', ' ', 'abc', '1e999', '--']) expect(fit(field, typed)).toBeNull();
  });
});
