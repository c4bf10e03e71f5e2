import { ToggleGroup } from 'radix-ui';
import { slowdownOf, type Slowdown } from '../../activity/slowdown';
import { formatRate } from '../../lib/format';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import { Choice } from './Choice';

const modes = [
  ['summary', 'Summary'],
  ['full', 'Every neuron'],
] as const;

/** How much is captured, and what that costs, measured on this chat's own replies. */
export function CaptureControls() {
  const { mode, auditEvery } = useStore((s) => s.capture);
  const speeds = useStore((s) => s.speeds);
  const chatId = useStore((s) => s.activeId);
  const device = useStore((s) => (s.engine?.state === 'ready' ? s.engine.device : null));
  const { setCapture } = useStore.getState();
  return (
    <>
      <ToggleGroup.Root
        type="single"
        className={css.segments}
        aria-label="Capture"
        value={mode}
        onValueChange={(next) => next && setCapture({ mode: next as 'summary' | 'full' })}
      >
        {modes.map(([id, name]) => (
          <ToggleGroup.Item key={id} value={id} className={css.segment}>
            {name}
          </ToggleGroup.Item>
        ))}
      </ToggleGroup.Root>
      <Choice
        label="Audit"
        value={auditEvery}
        options={[
          [0, 'never'],
          [64, 'every 64th token'],
          [16, 'every 16th token'],
          [4, 'every 4th token'],
        ]}
        onChange={(next) => setCapture({ auditEvery: next })}
      />
      <span
        className={css.cost}
        title="Median speed of this chat's replies with this capture, against replies written with the panel closed"
      >
        {costWords(slowdownOf(speeds, chatId, mode))}
      </span>
      {device !== null && <span className={css.cost}>{deviceCaptureWords(device)}</span>}
    </>
  );
}

/** `device` is the GPU that holds the model: what a token needed is noted down on the CPU only. */
export const deviceCaptureWords = (device: string): string =>
  `New replies run on the CPU while this panel is open, since only there it is seen what a token needs. With the panel closed they run on the ${device}.`;

export function costWords(slowdown: Slowdown | null): string {
  if (!slowdown) return 'Slowdown: not measured yet';
  const { share, captured, free, replies, freeReplies } = slowdown;
  const percent = Math.abs(share * 100).toFixed(1);
  const word = share >= 0.0005 ? `${percent} % slower` : share <= -0.0005 ? `${percent} % faster` : 'no slower';
  return `Slowdown: ${word} (${formatRate(captured)} against ${formatRate(free)} closed, ${replies} and ${freeReplies} replies)`;
}
