import { useStore } from '../store/store';
import { formatIsa } from '../lib/format';
import { Mark } from './Mark';
import css from './SettingsDialog.module.css';

export function AboutSettings() {
  const info = useStore((s) => s.appInfo);
  const engine = useStore((s) => s.engine);
  if (!info) return null;
  return (
    <div>
      <div className={css.about}>
        <Mark size={44} />
        <div>
          <strong>Hunch {info.version}</strong>
          <span className={css.hint}>Language models on your own computer. Nothing you write leaves it.</span>
        </div>
      </div>
      <dl className={css.facts}>
        <dt>Chats</dt>
        <dd>{info.dataFolder}</dd>
        <dt>Models</dt>
        <dd>{info.modelsFolder}</dd>
        {engine?.isa && (
          <>
            <dt>Engine</dt>
            <dd>
              {formatIsa(engine.isa)}
              {engine.threads ? `, ${engine.threads} ${engine.threads === 1 ? 'thread' : 'threads'}` : ''}
            </dd>
          </>
        )}
        <dt>Built with</dt>
        <dd>
          Electron {info.electron}, Chromium {info.chromium}, Node {info.node}
        </dd>
        <dt>System</dt>
        <dd>{info.platform}</dd>
        <dt>Licence</dt>
        <dd>Apache-2.0</dd>
      </dl>
    </div>
  );
}
