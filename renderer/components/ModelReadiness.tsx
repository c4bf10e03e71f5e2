import { Download, RotateCw } from 'lucide-react';
import { deviceWords } from '../lib/deviceWords';
import { formatBytes, formatCount, formatIsa, formatPercent } from '../lib/format';
import { useStore } from '../store/store';
import controls from './controls.module.css';
import css from './EmptyState.module.css';
import { GpuRemedies } from './GpuRemedies';
import { Progress } from './Progress';

/** In the empty chat: which model will answer, or what is being done and what one can do to get one. */
export function ModelReadiness() {
  const engine = useStore((s) => s.engine);
  const models = useStore((s) => s.models);
  const downloads = useStore((s) => s.downloads);
  const defaultId = useStore((s) => s.settings?.defaultModelId);
  const { downloadModel, restartEngine, setModelPickerOpen } = useStore.getState();
  if (!engine || !models) return <p className={css.line}>Starting…</p>;

  const wanted = models.find((m) => m.id === (engine.modelId ?? defaultId)) ?? models[0];
  const name = engine.modelName ?? wanted?.name ?? 'The model';

  if (engine.state === 'ready') {
    const facts = [
      deviceWords(engine),
      engine.device === null && engine.isa && formatIsa(engine.isa),
      engine.contextLength && `${formatCount(engine.contextLength)} tokens of context`,
    ].filter(Boolean);
    return (
      <p className={css.line}>
        <strong>{name}</strong> is ready and runs on this computer only.
        {facts.length > 0 && <span className={css.facts}>{facts.join(' · ')}</span>}
        {engine.deviceNote && <span className={css.facts}>{engine.deviceNote}</span>}
      </p>
    );
  }

  const downloading = models.find((m) => downloads[m.id] ?? m.state === 'downloading');
  if (downloading) {
    const d = downloads[downloading.id];
    const fraction = d && d.totalBytes > 0 ? d.receivedBytes / d.totalBytes : null;
    return (
      <div className={css.work}>
        <p>
          Downloading <strong>{downloading.name}</strong>
          {fraction !== null && `, ${formatPercent(fraction)}`}
        </p>
        <Progress value={fraction} label={`Downloading ${downloading.name}`} />
        {d && (
          <p className={css.facts}>
            {formatBytes(d.receivedBytes)} of {formatBytes(d.totalBytes)} from {d.source}
          </p>
        )}
      </div>
    );
  }

  if (engine.state === 'loading' || engine.state === 'starting') {
    return (
      <div className={css.work}>
        <p>
          {engine.state === 'loading' ? 'Loading' : 'Starting the engine for'} <strong>{name}</strong>
        </p>
        <Progress value={engine.loadProgress} label={`Loading ${name}`} />
        <p className={css.facts}>You can write your question meanwhile.</p>
      </div>
    );
  }

  if (wanted && (wanted.state === 'absent' || wanted.state === 'broken')) {
    return (
      <div className={css.work}>
        <p>
          {(wanted.state === 'broken' && (wanted.problem ?? engine.error?.message)) ||
            'To chat you need a model. It is downloaded once and stays on this computer.'}
        </p>
        <div className={css.buttons}>
          {wanted.source === 'catalogue' && (
            <button
              type="button"
              className={`${controls.button} ${controls.primary}`}
              onClick={() => void downloadModel(wanted.id)}
            >
              <Download size={16} aria-hidden />
              Download {wanted.name} ({formatBytes(wanted.sizeBytes)})
            </button>
          )}
          <button type="button" className={controls.button} onClick={() => setModelPickerOpen(true)}>
            Other models…
          </button>
        </div>
        {wanted.license && <p className={css.facts}>Licence: {wanted.license}</p>}
      </div>
    );
  }

  return (
    <div className={css.work}>
      <p>{engine.error?.message ?? (wanted ? `${name} is not loaded yet.` : 'No model is installed yet.')}</p>
      <div className={css.buttons}>
        <GpuRemedies code={engine.error?.code} />
        {wanted && (
          <button
            type="button"
            className={`${controls.button} ${controls.primary}`}
            onClick={() => void restartEngine()}
          >
            <RotateCw size={15} aria-hidden />
            {engine.state === 'crashed' ? 'Restart engine' : `Load ${name}`}
          </button>
        )}
        <button type="button" className={controls.button} onClick={() => setModelPickerOpen(true)}>
          Choose a model…
        </button>
      </div>
    </div>
  );
}
