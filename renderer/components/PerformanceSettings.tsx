import { ToggleGroup } from 'radix-ui';
import { useEffect } from 'react';
import type { GpuReport } from '../../electron/contract/devices';
import type { Settings } from '../../electron/contract/entities';
import { deviceWords, gpuWords } from '../lib/deviceWords';
import { useStore } from '../store/store';
import { CommittedNumber } from './CommittedNumber';
import { GpuRemedies } from './GpuRemedies';
import css from './SettingsDialog.module.css';

const choices: { id: Settings['device']; label: string }[] = [
  { id: 'auto', label: 'Automatic' },
  { id: 'cpu', label: 'CPU' },
  { id: 'cuda', label: 'NVIDIA GPU' },
];

/** Where and how models run. Each change loads the model anew, once running replies have ended. */
export function PerformanceSettings() {
  const settings = useStore((s) => s.settings);
  const threads = useStore((s) => s.engine?.threads ?? null);
  const { setSettings } = useStore.getState();
  if (!settings) return null;
  return (
    <div>
      <div className={css.setting}>
        <div>
          <span className={css.label} id="device-label">
            Run on
          </span>
          <p className={css.hint}>Automatic takes an NVIDIA GPU where one can be used.</p>
        </div>
        <ToggleGroup.Root
          type="single"
          className={css.segments}
          aria-labelledby="device-label"
          value={settings.device}
          onValueChange={(device) => device && void setSettings({ device: device as Settings['device'] })}
        >
          {choices.map(({ id, label }) => (
            <ToggleGroup.Item key={id} value={id} className={css.segment}>
              {label}
            </ToggleGroup.Item>
          ))}
        </ToggleGroup.Root>
        <Found />
      </div>
      <CommittedNumber
        label="GPU memory to use (MB)"
        hint="Empty uses what is free. What does not fit there stays in main memory and runs on the CPU."
        empty={{ words: 'what is free', onCommit: () => void setSettings({ gpuBudgetMb: null }) }}
        value={settings.gpuBudgetMb}
        min={1}
        max={16_777_216}
        onCommit={(gpuBudgetMb) => void setSettings({ gpuBudgetMb })}
      />
      <CommittedNumber
        label="Main memory for the model (MB)"
        hint="Empty keeps the whole model. Neurons beyond it are read from the disk when a token needs them: slower, but models run that are larger than the memory."
        empty={{ words: 'all of it', onCommit: () => void setSettings({ memoryBudgetMb: null }) }}
        value={settings.memoryBudgetMb}
        min={1}
        max={16_777_216}
        onCommit={(memoryBudgetMb) => void setSettings({ memoryBudgetMb })}
      />
      <CommittedNumber
        label="Threads"
        hint={`0 uses one per physical core.${threads ? ` Now ${threads}.` : ''}`}
        value={settings.threads}
        min={0}
        max={256}
        onCommit={(value) => void setSettings({ threads: value })}
      />
      <CommittedNumber
        label="Context length"
        hint="Tokens of a conversation the model keeps in view. More needs more memory; the model's own limit applies."
        value={settings.contextLength}
        min={256}
        max={131072}
        onCommit={(value) => void setSettings({ contextLength: value })}
      />
    </div>
  );
}

/** What the model runs on now, and what there is. */
function Found() {
  const engine = useStore((s) => s.engine);
  const gpus = useStore((s) => s.gpus);
  const { lookForGpus } = useStore.getState();
  useEffect(() => void lookForGpus(), [lookForGpus]);
  const now = deviceWords(engine);
  const note = engine?.deviceNote ?? '';
  const message = engine?.error?.message ?? '';
  // The same reason is given once: with the GPU that it is about.
  const beside = gpus?.gpus.some(({ problem }) => problem !== '' && note.includes(problem)) ?? false;
  return (
    <div className={css.found}>
      <div role="status">
        {now !== null && <p>Now on: {now}</p>}
        {note !== '' && !beside && <p>{note}</p>}
        {(engine?.state === 'loading' || engine?.state === 'starting') && <p>Loading the model…</p>}
        {message !== '' && <p className={css.problem}>{message}</p>}
      </div>
      {engine?.error && (
        <div className={css.remedies}>
          <GpuRemedies code={engine.error.code} />
        </div>
      )}
      {gpus ? <Gpus report={gpus} told={`${note} ${message}`} /> : <p>Looking for GPUs…</p>}
    </div>
  );
}

/** `told`: what is said of them already. */
function Gpus({ report: { driver, gpus, problem }, told }: { report: GpuReport; told: string }) {
  return (
    <>
      {gpus.length > 0 && (
        <ul aria-label="GPUs">
          {gpus.map((gpu, i) => (
            <li key={i}>
              {gpuWords(gpu)}
              {gpu.problem !== '' && <span className={css.problem}> {gpu.problem}</span>}
            </li>
          ))}
        </ul>
      )}
      {driver !== '' && <p>NVIDIA’s driver for CUDA {driver}</p>}
      {problem !== '' && !told.includes(problem) && <p>{problem}</p>}
    </>
  );
}
