import type { EngineHost } from '../engine/host';
import type { DomainHandlers } from './dispatch';

export function engineHandlers(engine: EngineHost): DomainHandlers<'engine'> {
  return {
    'engine.status': () => engine.status,
    'engine.restart': () => engine.restart(),
    'engine.gpus': () => engine.gpus(),
  };
}
