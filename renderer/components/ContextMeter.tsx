import { formatCount } from '../lib/format';
import { useStore } from '../store/store';
import css from './Composer.module.css';

/** How full the context was after the last reply: the prompt and what was generated, of what the model can hold. */
export function ContextMeter() {
  const capacity = useStore((s) => s.engine?.contextLength ?? null);
  const used = useStore((s) => {
    const branch = s.activeId ? s.branches[s.activeId] : undefined;
    for (let i = (branch?.length ?? 0) - 1; i >= 0; i--) {
      const stats = s.messages[branch?.[i] ?? '']?.stats;
      if (stats) return stats.promptTokens + stats.generatedTokens;
    }
    return null;
  });
  if (capacity === null || used === null) return null;
  return (
    <span
      className={css.meter}
      data-full={used > capacity * 0.9}
      title="Tokens of this conversation in the model's context"
    >
      {formatCount(used)} / {formatCount(capacity)} tokens
    </span>
  );
}
