import { HeatTurn, type FromWorker, type Showing, type ToWorker } from './heatTurn';

/** A canvas that the worker draws on. While it draws, what comes waits, and of what waits only the newest is sent. */
interface Handed {
  id: number;
  busy: boolean;
  waiting: Showing | null;
}

let worker: Worker | null | undefined;
let nextId = 1;
const handed = new WeakMap<HTMLCanvasElement, Handed>();
const byId = new Map<number, WeakRef<HTMLCanvasElement>>();
const own = new WeakMap<HTMLCanvasElement, HeatTurn>();
const gone = new FinalizationRegistry<number>((id) => {
  byId.delete(id);
  send({ type: 'drop', id });
});

const send = (message: ToWorker, transfer: Transferable[] = []): void => worker?.postMessage(message, transfer);

/** One for all maps; null where there are none, and maps are painted in the page. */
function theWorker(): Worker | null {
  if (worker !== undefined) return worker;
  const can = typeof Worker === 'function' && typeof OffscreenCanvas === 'function';
  worker = can ? new Worker(new URL('./heat.worker.ts', import.meta.url), { type: 'module' }) : null;
  worker?.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => onDrawn(data));
  return worker;
}

function onDrawn({ id, drawn }: FromWorker): void {
  const canvas = byId.get(id)?.deref();
  const about = canvas && handed.get(canvas);
  if (!canvas || !about) return;
  canvas.dataset.drawn = String(drawn);
  about.busy = false;
  if (about.waiting) post(about, about.waiting);
}

function post(about: Handed, showing: Showing): void {
  about.busy = true;
  about.waiting = null;
  send({ type: 'show', id: about.id, showing });
}

function handOver(canvas: HTMLCanvasElement): Handed {
  const about: Handed = { id: nextId++, busy: false, waiting: null };
  handed.set(canvas, about);
  byId.set(about.id, new WeakRef(canvas));
  gone.register(canvas, about.id);
  const offscreen = canvas.transferControlToOffscreen();
  send({ type: 'canvas', id: about.id, canvas: offscreen }, [offscreen]);
  return about;
}

/** Shows a grid on a canvas that nothing else draws on. */
export function showOn(canvas: HTMLCanvasElement, showing: Showing): void {
  if (theWorker()) {
    const about = handed.get(canvas) ?? handOver(canvas);
    // Where it is panned in between, the next one is no flash either.
    const moved = showing.moved || (about.waiting?.moved ?? false);
    if (about.busy) about.waiting = { ...showing, moved };
    else post(about, { ...showing, moved });
    return;
  }
  const context = own.has(canvas) ? null : canvas.getContext('2d', { alpha: false });
  if (context) {
    const tell = (drawn: number): void => void (canvas.dataset.drawn = String(drawn));
    own.set(canvas, new HeatTurn(canvas, context, globalThis, tell));
  }
  own.get(canvas)?.show(showing);
}
