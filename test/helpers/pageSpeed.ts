import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import type { RunningApp } from './app';

export interface Pace {
  /** Pictures a second that were drawn on the canvas. */
  drawn: number;
  /** Frames a second of the page itself. */
  fps: number;
  /** ms between frames, sorted. */
  gaps: number[];
}

/** Presses a key on an element once a frame for a while, and counts the frames and what was drawn on the map. */
export function paceOfKeys(page: Page, selector: string, key: string, back: string, ms: number): Promise<Pace> {
  return page.evaluate(
    async ({ selector, key, back, ms }) => {
      const target = document.querySelector<HTMLElement>(selector);
      if (!target) throw new Error(`Nothing is ${selector}.`);
      const pictures = (): number =>
        Number(document.querySelector<HTMLElement>('[role=grid] canvas')?.dataset.drawn ?? Number.NaN);
      const gaps: number[] = [];
      const before = pictures();
      const start = performance.now();
      let last = start;
      for (let i = 0; last < start + ms; i++) {
        const pressed = Math.floor(i / 20) % 2 ? back : key;
        target.dispatchEvent(new KeyboardEvent('keydown', { key: pressed, bubbles: true, cancelable: true }));
        const now = await new Promise<number>((resolve) => requestAnimationFrame(() => resolve(performance.now())));
        gaps.push(now - last);
        last = now;
      }
      const seconds = (last - start) / 1000;
      const drawn = (pictures() - before) / seconds;
      return { drawn, fps: gaps.length / seconds, gaps: gaps.sort((a, b) => a - b) };
    },
    { selector, key, back, ms },
  );
}

interface TraceEvent {
  name: string;
  ph: string;
  pid: number;
  tid: number;
  dur?: number;
  args: { name?: string };
}

/** Durations, in ms and sorted, of all tasks of the page's main thread while `work` goes on: from Chromium's own trace. */
export async function mainThreadTasks(running: RunningApp, work: () => Promise<unknown>): Promise<number[]> {
  const file = path.join(running.home, 'trace.json');
  await running.app.evaluate(({ contentTracing }) =>
    contentTracing.startRecording({ included_categories: ['toplevel', '__metadata'], excluded_categories: ['*'] }),
  );
  await work();
  await running.app.evaluate(({ contentTracing }, file) => contentTracing.stopRecording(file), file);
  const { traceEvents } = JSON.parse(readFileSync(file, 'utf8')) as { traceEvents: TraceEvent[] };
  const main = traceEvents
    .filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain')
    .map(({ pid, tid }) => `${pid} ${tid}`);
  return traceEvents
    .filter(({ name, ph, pid, tid }) => ph === 'X' && name.endsWith('RunTask') && main.includes(`${pid} ${tid}`))
    .map(({ dur = 0 }) => dur / 1000)
    .sort((a, b) => a - b);
}

export const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
