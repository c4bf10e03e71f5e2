import type { HostSparsity } from '../engine/hostSparsity';
import type { DomainHandlers } from './dispatch';

export function sparsityHandlers(sparsity: HostSparsity): DomainHandlers<'sparsity'> {
  return {
    'sparsity.state': () => sparsity.state,
    'sparsity.calibrate': () => sparsity.calibrate(),
    'sparsity.cancelCalibration': () => {
      sparsity.cancel();
      return null;
    },
  };
}
