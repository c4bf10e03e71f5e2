import { describe, expect, it } from 'vitest';
import { figuresAt, nearestStop, placeAt, placeName } from '../../../electron/contract/place';
import { stopNames, stopPosition, type FrontierPoint, type StopName } from '../../../electron/contract/sparsity';
import { modelSource } from '../../../electron/engine/sparsitySource';
import { joinTrails, SparsityTrail } from '../../../electron/engine/sparsityTrail';

const silu: StopName[] = ['dense', 'careful', 'balanced', 'fast', 'fastest'];

describe('a place of the slider', () => {
  it('is the stop itself at a stop', () => {
    for (const stop of stopNames) {
      expect(placeAt(stopPosition(stop), stopNames)).toEqual({ from: stop, to: stop, share: 0 });
      expect(placeName(stopPosition(stop), stopNames)).toBe(stop);
    }
  });

  it('lies between two stops elsewhere', () => {
    const place = placeAt(0.65, stopNames);
    expect(place).toMatchObject({ from: 'balanced', to: 'fast' });
    expect(place.share).toBeCloseTo(0.25);
    expect(placeName(0.65, stopNames)).toBe('65 %');
  });

  it('is dense at exact where the model lacks it, and goes on from there', () => {
    expect(placeName(stopPosition('exact'), silu)).toBe('dense');
    expect(placeName(0.1, silu)).toBe('dense');
    expect(placeAt(0.3, silu)).toMatchObject({ from: 'dense', to: 'careful', share: expect.closeTo(0.5) });
  });

  it('stays at the last stop there is', () => {
    expect(placeName(1, ['dense', 'exact'])).toBe('exact');
    expect(placeName(0.5, ['dense', 'exact'])).toBe('exact');
    expect(placeName(0.7, ['dense'])).toBe('dense');
    expect(nearestStop('fast', [])).toBe('dense');
  });
});

describe('the figures of a place', () => {
  const point = (stop: StopName, speedup: number, rise: number): FrontierPoint => ({
    stop,
    tokensPerSecond: 100 * speedup,
    speedup,
    perplexityRatio: 1 + rise,
    kl: rise,
    agreement: 1 - rise,
    density: 1 / speedup,
    bytesPerToken: 1e8 / speedup,
  });
  const stops: StopName[] = ['dense', 'exact', 'careful'];
  const frontier = [point('dense', 1, 0), point('exact', 2, 0), point('careful', 4, 0.01)];

  it('are those measured at a stop', () => {
    expect(figuresAt(0.2, stops, frontier)).toEqual({ figures: frontier[1], measured: true });
    expect(figuresAt(1, stops, frontier)).toEqual({ figures: frontier[2], measured: true });
  });

  it('add up the times of the layers between two', () => {
    const { figures, measured } = figuresAt(0.3, stops, frontier)!;
    expect(measured).toBe(false);
    expect(figures.speedup).toBeCloseTo(1 / (0.5 / 2 + 0.5 / 4));
    expect(figures.tokensPerSecond).toBeCloseTo(100 * figures.speedup);
    expect(figures.bytesPerToken).toBeCloseTo((1e8 / 2 + 1e8 / 4) / 2);
    expect(figures.perplexityRatio).toBeCloseTo(1.005);
  });

  it('are none where a stop was not measured', () => {
    expect(figuresAt(0.3, stops, frontier.slice(0, 2))).toBeNull();
    expect(figuresAt(0, stops, [])).toBeNull();
  });
});

describe('a model without a pack', () => {
  it('runs dense everywhere unless skipped neurons are true zeros', () => {
    for (const activation of ['silu', 'gelu'] as const) {
      const source = modelSource({ activation, layers: 4 }, null);
      expect(source.state().stops).toEqual(['dense']);
      for (const position of [0, 0.2, 0.62, 1]) {
        expect(source.plan(position)).toBeNull();
        expect(source.describe(position)).toBe('dense');
      }
    }
  });

  it('runs exact from that stop on, and a part of the layers before it', () => {
    for (const activation of ['relu', 'drelu'] as const) {
      const source = modelSource({ activation, layers: 4 }, null);
      const routes = (position: number) => source.plan(position)?.layers.map(({ mlp }) => mlp) ?? null;
      expect(source.state().stops).toEqual(['dense', 'exact']);
      expect(routes(0)).toBeNull();
      expect(routes(0.1)).toEqual(['exact', 'exact', 'dense', 'dense']);
      for (const position of [0.2, 0.62, 1]) expect(routes(position)).toEqual(Array(4).fill('exact'));
      expect(source.describe(0.1)).toBe('10 %');
      expect(source.describe(1)).toBe('exact');
      expect(source.plan(0.2)!.vocabulary).toEqual({ bits: 0, margin: 0 });
    }
  });
});

describe('the trail of a reply', () => {
  const walk = (...steps: [name: string, tokens: number][]): string => {
    const trail = new SparsityTrail(steps[0]![0]);
    for (const [name, tokens] of steps) {
      trail.move(name);
      for (let i = 0; i < tokens; i++) trail.wrote(1);
    }
    return String(trail);
  };

  it('is one name when nothing was moved, or nothing written', () => {
    expect(walk(['balanced', 100])).toBe('balanced');
    expect(walk(['balanced', 0])).toBe('balanced');
    expect(walk(['balanced', 0], ['fast', 0])).toBe('fast');
  });

  it('tells where tokens were written, in order', () => {
    expect(walk(['balanced', 50], ['fast', 50])).toBe('balanced → fast');
    expect(walk(['balanced', 50], ['fast', 0])).toBe('balanced');
    expect(walk(['balanced', 0], ['fast', 50])).toBe('fast');
    expect(walk(['dense', 1], ['fast', 1])).toBe('dense → fast');
    expect(walk(['dense', 20], ['fast', 20], ['dense', 20])).toBe('dense → fast → dense');
  });

  it('leaves out what was only passed', () => {
    const slide = Array.from({ length: 19 }, (_, i): [string, number] => [`${61 + i} %`, 2]);
    expect(walk(['balanced', 50], ...slide, ['fast', 50])).toBe('balanced → fast');
    expect(walk(['dense', 50], ['fast', 2], ['dense', 50])).toBe('dense');
  });

  it('is shortened to its ends when it is long', () => {
    const steps = ['dense', 'exact', 'careful', 'balanced', 'fast'].map((name): [string, number] => [name, 20]);
    expect(walk(...steps)).toBe('dense → exact → … → fast');
  });

  it('goes on when the reply is continued', () => {
    expect(joinTrails('balanced', 'balanced')).toBe('balanced');
    expect(joinTrails('balanced → fast', 'fast → dense')).toBe('balanced → fast → dense');
  });
});
