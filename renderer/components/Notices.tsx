import { AlertCircle, X } from 'lucide-react';
import { useEffect, useState } from 'react';
import type { Notice } from '../store/noticesSlice';
import { useStore } from '../store/store';
import controls from './controls.module.css';
import { IconButton } from './IconButton';
import css from './Notices.module.css';

const shownMs = 8000;

/** Notes under the header, where they hide neither the draft nor the last line: errors stay until dismissed, others go by themselves unless pointed at or focused. */
export function Notices() {
  const notices = useStore((s) => s.notices);
  const errors = notices.filter((n) => n.kind === 'error');
  const infos = notices.filter((n) => n.kind === 'info');
  return (
    <div className={css.region}>
      <div role="alert">
        {errors.map((notice) => (
          <NoticeCard key={notice.id} notice={notice} />
        ))}
      </div>
      <div role="status">
        {infos.map((notice) => (
          <NoticeCard key={notice.id} notice={notice} />
        ))}
      </div>
    </div>
  );
}

function NoticeCard({ notice }: { notice: Notice }) {
  const dismiss = useStore((s) => s.dismiss);
  const [held, setHeld] = useState(false);
  const { id, kind, text, action } = notice;

  useEffect(() => {
    if (kind === 'error' || held) return;
    const timer = setTimeout(() => dismiss(id), shownMs);
    return () => clearTimeout(timer);
  }, [id, kind, held, dismiss]);

  return (
    <div
      className={`${css.notice} ${kind === 'error' ? css.error : ''}`}
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      {kind === 'error' && <AlertCircle size={17} aria-hidden className={css.icon} />}
      <p className={css.text}>{text}</p>
      {action && (
        <button
          type="button"
          className={`${controls.button} ${controls.buttonSmall}`}
          onClick={() => {
            dismiss(id);
            action.run();
          }}
        >
          {action.label}
        </button>
      )}
      <IconButton small label="Dismiss" onClick={() => dismiss(id)}>
        <X size={15} aria-hidden />
      </IconButton>
    </div>
  );
}
