import type { ComponentType } from 'react';
import type { Source } from '../../activity/source';
import type { ViewName } from '../../store/activitySlice';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import { AnalyseButton } from './AnalyseButton';
import { CompareView } from './CompareView';
import { Inspector } from './Inspector';
import { InterveneView } from './InterveneView';
import { LayersView } from './LayersView';
import { LensView } from './LensView';
import { NeuronsView } from './NeuronsView';
import { ResidencyView } from './ResidencyView';
import { LayerView, ModelView } from './NeuronViews';
import { BlocksView, HeadsView, type ViewProps } from './SummaryViews';
import { TimeView } from './TimeView';
import { useFrame } from './useActivity';

/** Views of a token; where neurons lie is of the loaded model. */
const views: Record<Exclude<ViewName, 'residency'>, ComponentType<ViewProps>> = {
  blocks: BlocksView,
  heads: HeadsView,
  model: ModelView,
  layer: LayerView,
  time: TimeView,
  layers: LayersView,
  neurons: NeuronsView,
  lens: LensView,
  compare: CompareView,
  intervene: InterveneView,
};

/** Views that need the room. */
const wide: readonly ViewName[] = ['compare', 'intervene', 'lens', 'layers'];
/** What can be shown of a token without a frame, by the frame of another. */
const frameless: readonly ViewName[] = ['intervene', 'time', 'lens', 'layers', 'neurons'];

/** The chosen view, or a sentence on why there is nothing to see. */
export function ViewBody({ view, source }: { view: ViewName; source: Source | null }) {
  const token = useStore((s) => s.token);
  const writing = useStore((s) => source !== null && s.live[source.id] !== undefined);
  const frame = useFrame(source, token);
  const shape = frame ?? (frameless.includes(view) ? source?.track.anyFrame() : null);
  if (view === 'residency') return <ResidencyView />;
  if (!source || source.track.length === 0) return <Nothing source={source} writing={writing} />;
  if (shape) {
    const View = views[view];
    return (
      <>
        <View source={source} frame={shape} token={token} />
        {frame && !wide.includes(view) && <Inspector source={source} frame={frame} token={token} />}
      </>
    );
  }
  if (writing && token > 0 && frame === null) {
    return (
      <p className={css.note}>This token’s frame follows in a moment: while a reply is written the newest go first.</p>
    );
  }
  if (frame === undefined) return <p className={css.note}>Reading this token’s frame…</p>;
  if (source.track.framed === 0 && !writing) return <Nothing source={source} writing={false} />;
  return (
    <div className={css.empty}>
      <h3>{token === 0 ? 'Made by the prefill: no frame' : 'No frame for this token'}</h3>
      <p>
        {token === 0
          ? 'The first token of a reply comes out of reading the prompt, which runs all prompt tokens at once. The next ones are decoded one by one, and each has its frame.'
          : 'It was made before the panel was opened, or came out of a batch (speculation).'}
      </p>
    </div>
  );
}

function Nothing({ source, writing }: { source: Source | null; writing: boolean }) {
  return (
    <div className={css.empty}>
      <h3>
        {source ? (writing ? 'Waiting for the first token' : 'Nothing was captured with this reply') : 'No reply yet'}
      </h3>
      <p>
        {source
          ? writing
            ? 'The prompt is being read.'
            : 'It was written while this panel was closed.'
          : 'Ask something: every token of the answer appears above as it is made, with what the network computed for it.'}
      </p>
      {source && !writing && <AnalyseButton source={source} />}
    </div>
  );
}
