import { ChevronLeft, ChevronRight } from 'lucide-react';
import type { Message } from '../../electron/contract/entities';
import { liveReplyOf } from '../store/repliesSlice';
import { useStore } from '../store/store';
import { IconButton } from './IconButton';
import css from './SiblingSwitcher.module.css';

/** ‹2/3›: the versions of a message. */
export function SiblingSwitcher({ message }: { message: Message }) {
  const { showBranch } = useStore.getState();
  const writing = useStore((s) => liveReplyOf(s.live, message.chatId) !== null);
  const { siblings, id, chatId } = message;
  if (siblings.length < 2) return null;
  const at = siblings.indexOf(id);
  const go = (to: number): void => {
    const sibling = siblings[to];
    if (sibling) void showBranch(chatId, sibling);
  };
  return (
    <span className={css.switcher}>
      <IconButton small label="Previous version" disabled={writing || at <= 0} onClick={() => go(at - 1)}>
        <ChevronLeft size={15} aria-hidden />
      </IconButton>
      <span aria-label={`Version ${at + 1} of ${siblings.length}`} role="img">
        {at + 1}/{siblings.length}
      </span>
      <IconButton small label="Next version" disabled={writing || at >= siblings.length - 1} onClick={() => go(at + 1)}>
        <ChevronRight size={15} aria-hidden />
      </IconButton>
    </span>
  );
}
