import { Maximize2, Minimize2, X } from 'lucide-react';
import { Tabs } from 'radix-ui';
import { useEffect, useRef } from 'react';
import type { KeyboardEvent, PointerEvent } from 'react';
import { useStore } from '../../store/store';
import { viewNames, type ViewName } from '../../store/activitySlice';
import controls from '../controls.module.css';
import { IconButton } from '../IconButton';
import css from './Activity.module.css';
import { CaptureControls } from './CaptureControls';
import { Choice } from './Choice';
import { ExportMenu } from './ExportMenu';
import { TokenStrip } from './TokenStrip';
import { useSource } from './useActivity';
import { useLatestReply } from './useLatestReply';
import { useSourceChoices } from './useSourceChoices';
import { ViewBody } from './ViewBody';
import { ViewBoundary } from './ViewBoundary';

const names: Record<ViewName, string> = {
  blocks: 'Neurons',
  heads: 'Heads',
  model: 'Every neuron',
  layer: 'One layer',
  time: 'Over time',
  layers: 'Layers',
  residency: 'Where neurons lie',
  neurons: 'What stands out',
  lens: 'Logit lens',
  compare: 'Compare',
  intervene: 'Intervene',
};

/** Below the conversation (or in its place): what the network computed for each token. */
export function ActivityPanel() {
  useLatestReply();
  const source = useSource();
  const full = useStore((s) => s.activityFull);
  // Beside an empty chat there is nothing to leave room for.
  const alone = useStore((s) => s.activityFull || s.activeId === null || s.branches[s.activeId]?.length === 0);
  const share = useStore((s) => s.activityShare);
  const view = useStore((s) => s.look.view);
  const running = useStore((s) => s.rerunning);
  const { toggleActivity, setActivityFull, setLook, lookAt, cancelRerun } = useStore.getState();
  const panel = useRef<HTMLElement>(null);
  const choices = useSourceChoices();
  useEffect(() => panel.current?.querySelector<HTMLElement>('[role=tab][data-state=active]')?.focus(), []);
  return (
    <section
      ref={panel}
      className={css.panel}
      aria-label="Activations"
      data-full={alone}
      style={alone ? undefined : { flexBasis: `${share * 100}%` }}
    >
      {!alone && <Handle panel={panel} />}
      <div className={css.bar}>
        <h2>Activations</h2>
        {source && <Choice label="Of" value={source.id} options={choices} onChange={(id) => void lookAt(id, 1)} />}
        <span className={css.grow} />
        <CaptureControls />
        <ExportMenu source={source} />
        <IconButton
          small
          label={full ? 'Show the conversation beside the activations' : 'Use the whole height'}
          aria-pressed={full}
          onClick={() => setActivityFull(!full)}
        >
          {full ? <Minimize2 size={15} aria-hidden /> : <Maximize2 size={15} aria-hidden />}
        </IconButton>
        <IconButton small label="Close activations" onClick={toggleActivity}>
          <X size={16} aria-hidden />
        </IconButton>
      </div>
      {running !== null && (
        <div className={css.bar} role="status">
          <span className={css.note}>{running}: running…</span>
          <button type="button" className={`${controls.button} ${controls.buttonSmall}`} onClick={cancelRerun}>
            Cancel
          </button>
        </div>
      )}
      <TokenStrip source={source} />
      <Tabs.Root
        className={css.tabs}
        value={view}
        activationMode="manual"
        onValueChange={(next) => setLook({ view: next as ViewName })}
      >
        <Tabs.List className={css.tabList} aria-label="Views">
          {viewNames.map((name) => (
            <Tabs.Trigger key={name} value={name} className={css.tab}>
              {names[name]}
            </Tabs.Trigger>
          ))}
        </Tabs.List>
        {viewNames.map((name) => (
          <Tabs.Content key={name} value={name} className={css.view} tabIndex={-1}>
            {name === view && (
              <ViewBoundary key={source?.id}>
                <ViewBody view={view} source={source} />
              </ViewBoundary>
            )}
          </Tabs.Content>
        ))}
      </Tabs.Root>
    </section>
  );
}

/** Between the conversation and the panel: drag it, or arrows. */
function Handle({ panel }: { panel: React.RefObject<HTMLElement | null> }) {
  const share = useStore((s) => s.activityShare);
  const { setActivityShare } = useStore.getState();
  const onPointerMove = (event: PointerEvent): void => {
    if (event.buttons !== 1) return;
    const whole = panel.current?.parentElement?.getBoundingClientRect();
    const own = panel.current?.getBoundingClientRect();
    if (whole && own) setActivityShare((own.bottom - event.clientY) / whole.height);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = { ArrowUp: 0.05, ArrowDown: -0.05 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    setActivityShare(share + step);
  };
  return (
    <div
      className={css.handle}
      role="separator"
      aria-orientation="horizontal"
      aria-label="Height of the activations"
      aria-valuemin={25}
      aria-valuemax={85}
      aria-valuenow={Math.round(share * 100)}
      tabIndex={0}
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={onPointerMove}
      onKeyDown={onKeyDown}
    />
  );
}
