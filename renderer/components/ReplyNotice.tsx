import { AlertCircle, CirclePause } from 'lucide-react';
import type { Message } from '../../electron/contract/entities';
import { useStore } from '../store/store';
import controls from './controls.module.css';
import { GpuRemedies } from './GpuRemedies';
import css from './Reply.module.css';

/** What a person should know about a reply that did not end by itself, with the one step that goes on from there. */
export function ReplyNotice({ message }: { message: Message }) {
  const { continueReply, regenerate, setSettingsOpen } = useStore.getState();
  if (message.status === 'interrupted') {
    return (
      <div className={css.notice}>
        <CirclePause size={17} aria-hidden />
        <p>{message.error?.message ?? 'This reply was interrupted. Everything up to here is saved.'}</p>
        <GpuRemedies code={message.error?.code} goOn={() => void continueReply(message.id)} />
        <button
          type="button"
          className={`${controls.button} ${controls.buttonSmall}`}
          onClick={() => void continueReply(message.id)}
        >
          Continue
        </button>
      </div>
    );
  }
  if (message.status === 'failed') {
    return (
      <div className={css.notice} data-kind="failed">
        <AlertCircle size={17} aria-hidden />
        <p>{message.error?.message ?? 'This reply could not be written.'}</p>
        {message.error?.code === 'context-overflow' && (
          <button
            type="button"
            className={`${controls.button} ${controls.buttonSmall}`}
            onClick={() => setSettingsOpen(true, 'performance')}
          >
            Settings
          </button>
        )}
        <GpuRemedies code={message.error?.code} goOn={() => void regenerate(message.id)} />
        <button
          type="button"
          className={`${controls.button} ${controls.buttonSmall}`}
          onClick={() => void regenerate(message.id)}
        >
          Try again
        </button>
      </div>
    );
  }
  return null;
}
