import { gpuRemedies } from '../lib/gpuRemedies';
import { useStore } from '../store/store';
import controls from './controls.module.css';

interface GpuRemediesProps {
  /** Of the error beside it. */
  code: string | undefined;
  /** With a reply: writes on afterwards. */
  goOn?: () => void;
}

/** Ways on after a GPU failed, cannot be used or has too little memory; nothing with other errors. */
export function GpuRemedies({ code, goOn }: GpuRemediesProps) {
  const engine = useStore((s) => s.engine);
  const settings = useStore((s) => s.settings);
  const { runOnCpu, useLessGpuMemory } = useStore.getState();
  const words = {
    cpu: { label: goOn ? 'Go on on the CPU' : 'Run on the CPU', run: runOnCpu },
    less: { label: goOn ? 'Go on with less GPU memory' : 'Use less GPU memory', run: useLessGpuMemory },
  };
  return gpuRemedies(code, engine, settings).map((remedy) => (
    <button
      key={remedy}
      type="button"
      className={`${controls.button} ${controls.buttonSmall}`}
      onClick={() => void words[remedy].run().then((done) => done && goOn?.())}
    >
      {words[remedy].label}
    </button>
  ));
}
