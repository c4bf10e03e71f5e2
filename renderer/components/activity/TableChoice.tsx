import { useStore } from '../../store/store';
import css from './Activity.module.css';

/** The same numbers as a table: for screen readers and for reading off. */
export function TableChoice() {
  const table = useStore((s) => s.look.table);
  const { setLook } = useStore.getState();
  return (
    <label className={css.check}>
      <input type="checkbox" checked={table} onChange={(event) => setLook({ table: event.target.checked })} />
      Table
    </label>
  );
}
