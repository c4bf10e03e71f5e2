import { Play, RotateCw } from 'lucide-react';
import type { Message } from '../../electron/contract/entities';
import { statsParts } from '../lib/statsParts';
import { useStore } from '../store/store';
import { CopyButton } from './CopyButton';
import { IconButton } from './IconButton';
import css from './Reply.module.css';
import { SiblingSwitcher } from './SiblingSwitcher';
import { Tip } from './Tip';

/** Under a finished reply: what one can do with it, and how fast it was made. */
export function ReplyFooter({ message }: { message: Message }) {
  const { regenerate, continueReply } = useStore.getState();
  const { id, text, status, stats, provenance } = message;
  const canContinue = status === 'stopped' || stats?.stopReason === 'length';
  const parts = statsParts(message);
  return (
    <footer className={css.footer}>
      <div className={css.actions} role="group" aria-label="Reply actions">
        <SiblingSwitcher message={message} />
        {text !== '' && <CopyButton label="Copy reply" getText={() => text} />}
        <IconButton small label="Regenerate" onClick={() => void regenerate(id)}>
          <RotateCw size={15} aria-hidden />
        </IconButton>
        {canContinue && (
          <IconButton small label="Continue" onClick={() => void continueReply(id)}>
            <Play size={15} aria-hidden />
          </IconButton>
        )}
      </div>
      {parts.length > 0 && (
        <Tip
          side="top"
          text={
            stats
              ? `${provenance ? `${provenance.modelName}, seed ${provenance.sampling.seed}. ` : ''}${stats.promptTokens} prompt tokens, ${stats.cachedTokens} of them from the cache.`
              : parts.join(', ')
          }
        >
          <p className={css.stats} tabIndex={0}>
            {parts.map((part, i) => (
              <span key={i}>{part}</span>
            ))}
          </p>
        </Tip>
      )}
    </footer>
  );
}
