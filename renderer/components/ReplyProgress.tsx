import { formatPercent, formatRate } from '../lib/format';
import { useStore } from '../store/store';
import css from './Reply.module.css';

/** While a reply is written: how much of a long prompt is read, then the speed. */
export function ReplyProgress({ messageId, started }: { messageId: string; started: boolean }) {
  const live = useStore((s) => s.live[messageId]);
  const prefill = live?.prefill;
  const reading = prefill && prefill.total > 0 && !(started && live.tokens > 0);
  return (
    <div className={css.progress}>
      <span className={css.dots} aria-hidden>
        <i />
        <i />
        <i />
      </span>
      {reading
        ? `Reading the prompt, ${formatPercent(prefill.done / prefill.total)}`
        : live && live.tokens > 0
          ? `${live.tokens} ${live.tokens === 1 ? 'token' : 'tokens'}${live.tokensPerSecond > 0 ? ` · ${formatRate(live.tokensPerSecond)}` : ''}`
          : 'Thinking about it…'}
    </div>
  );
}
