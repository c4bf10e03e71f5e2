import { HeatTurn, type FromWorker, type ToWorker } from './heatTurn';

/** Paints maps beside the page's own thread. */
const turns = new Map<number, HeatTurn>();

self.onmessage = ({ data }: MessageEvent<ToWorker>): void => {
  switch (data.type) {
    case 'canvas': {
      const context = data.canvas.getContext('2d', { alpha: false });
      const tell = (drawn: number): void => self.postMessage({ id: data.id, drawn } satisfies FromWorker);
      if (context) turns.set(data.id, new HeatTurn(data.canvas, context, self, tell));
      return;
    }
    case 'show':
      turns.get(data.id)?.show(data.showing);
      return;
    case 'drop':
      turns.get(data.id)?.stop();
      turns.delete(data.id);
  }
};
