import type { ReactNode } from 'react';
import type { RecordFrame } from '../../../electron/contract/frames';
import type { Source } from '../../activity/source';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import { AnalyseButton } from './AnalyseButton';
import { useRecord } from './useActivity';

/** Shows what needs a record, or says why there is none and what to do. */
export function RecordGate({
  source,
  token,
  render,
}: {
  source: Source;
  token: number;
  render: (record: RecordFrame) => ReactNode;
}) {
  const { value, loading, error } = useRecord(source, token);
  const mode = useStore((s) => s.capture.mode);
  if (value !== undefined && value !== 'none') return render(value);
  if (loading) return <p className={css.note}>Reading every neuron of this token…</p>;
  return (
    <div className={css.empty}>
      <h3>Only a summary of this token is known</h3>
      <p>
        {error ??
          (source.kind === 'imported'
            ? 'The imported file holds summaries of blocks, not every neuron of this token.'
            : mode === 'full'
              ? 'Every neuron is noted from the next reply on; of this token it was not, or the oldest have been let go.'
              : 'Single neurons are noted when the panel captures “Every neuron”.')}
      </p>
      <AnalyseButton source={source} />
    </div>
  );
}
