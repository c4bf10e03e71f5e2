import { Check, Download, X } from 'lucide-react';
import type { ModelSummary } from '../../electron/contract/entities';
import { formatBytes, formatPercent } from '../lib/format';
import { useStore } from '../store/store';
import controls from './controls.module.css';
import { IconButton } from './IconButton';
import css from './ModelList.module.css';
import { Progress } from './Progress';

export function ModelRow({ model, onChosen }: { model: ModelSummary; onChosen: (() => void) | undefined }) {
  const engine = useStore((s) => s.engine);
  const download = useStore((s) => s.downloads[model.id]);
  const { selectModel, downloadModel, cancelDownload } = useStore.getState();
  const current = engine?.modelId === model.id;
  const loaded = current && engine.state === 'ready';
  const loading = current && (engine.state === 'loading' || engine.state === 'starting');
  const downloading = download !== undefined || model.state === 'downloading';
  const fraction = download && download.totalBytes > 0 ? download.receivedBytes / download.totalBytes : null;
  const facts = [model.quantization, formatBytes(model.sizeBytes), model.license].filter(Boolean).join(' · ');

  return (
    <li className={css.model} data-current={current}>
      <div className={css.main}>
        <span className={css.name}>{model.name}</span>
        <span className={css.facts}>
          {downloading && download
            ? `${formatBytes(download.receivedBytes)} of ${formatBytes(download.totalBytes)} · ${download.source}`
            : facts}
        </span>
        {model.problem && <span className={css.problem}>{model.problem}</span>}
        {downloading && <Progress value={fraction} label={`Downloading ${model.name}`} />}
        {loading && <Progress value={engine.loadProgress} label={`Loading ${model.name}`} />}
      </div>
      {downloading ? (
        <>
          {fraction !== null && <span className={css.percent}>{formatPercent(fraction)}</span>}
          <IconButton
            small
            label={`Cancel the download of ${model.name}`}
            onClick={() => void cancelDownload(model.id)}
          >
            <X size={16} aria-hidden />
          </IconButton>
        </>
      ) : loaded ? (
        <span className={css.inUse}>
          <Check size={15} aria-hidden /> In use
        </span>
      ) : loading ? (
        <span className={css.percent}>Loading…</span>
      ) : model.state === 'available' ? (
        <button
          type="button"
          className={`${controls.button} ${controls.buttonSmall}`}
          aria-label={`Use ${model.name}`}
          onClick={() => {
            onChosen?.();
            void selectModel(model.id);
          }}
        >
          Use
        </button>
      ) : model.source === 'catalogue' ? (
        <button
          type="button"
          className={`${controls.button} ${controls.buttonSmall}`}
          aria-label={`Download ${model.name}`}
          onClick={() => void downloadModel(model.id)}
        >
          <Download size={14} aria-hidden />
          {model.state === 'broken' ? 'Download again' : 'Download'}
        </button>
      ) : null}
    </li>
  );
}
