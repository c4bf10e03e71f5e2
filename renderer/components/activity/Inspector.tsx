import type { SummaryFrame } from '../../../electron/contract/frames';
import { stateOf } from '../../../electron/contract/frames';
import type { Source } from '../../activity/source';
import { neuronCode, stateWords } from '../../activity/states';
import { blockWords, formatShare, formatValue, headWords, tokenWords } from '../../activity/words';
import { formatBytes } from '../../lib/format';
import { useStore } from '../../store/store';
import controls from '../controls.module.css';
import css from './Activity.module.css';
import { useRecord } from './useActivity';

/** The token and the place that are looked at, in figures; what can be done with the place. */
export function Inspector({ source, frame, token }: { source: Source; frame: SummaryFrame; token: number }) {
  const view = useStore((s) => s.look.view);
  const over = useStore((s) => s.look.over);
  const { track, surprise } = source;
  const nats = surprise?.[token];
  const missed = track.figure('missed', token);
  const head = view === 'heads' || (view === 'time' && over === 'head');
  const facts: [string, string][] = [
    ['Read', formatBytes(frame.bytes)],
    ['Dense reads', formatBytes(frame.denseBytes)],
    ['Saved', formatShare(1 - frame.bytes / frame.denseBytes)],
    ['Time', `${(frame.microseconds / 1000).toFixed(2)} ms`],
    ['of it predicting', `${(frame.predictorMicroseconds / 1000).toFixed(2)} ms`],
    ['Audit token', frame.audit ? 'yes' : 'no'],
    ['Missed', Number.isNaN(missed) ? 'known on audit tokens' : String(missed)],
    ['Surprise', nats === undefined || Number.isNaN(nats) ? 'known in runs' : `${formatValue(nats)} nats`],
  ];
  return (
    <aside className={css.side} aria-label="Readout" tabIndex={0}>
      <section>
        <h3>
          Token {token + 1} of {track.length}
        </h3>
        <p className={css.token}>{tokenWords(track.tokens[token]?.text ?? '')}</p>
        <dl className={css.facts}>
          {facts.map(([name, value]) => (
            <div key={name} style={{ display: 'contents' }}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </section>
      <section>
        {head ? <HeadSpot frame={frame} /> : <NeuronSpot source={source} frame={frame} token={token} />}
      </section>
    </aside>
  );
}

function HeadSpot({ frame }: { frame: SummaryFrame }) {
  const spot = useStore((s) => s.spot);
  const layer = Math.min(frame.layers.length - 1, spot.layer);
  const head = Math.min(frame.heads - 1, spot.head);
  return (
    <>
      <h3>
        Layer {layer}, head {head}
      </h3>
      <p>{headWords(frame, layer, head)}</p>
      <Actions kind="head" layer={layer} index={head} />
    </>
  );
}

function NeuronSpot({ source, frame, token }: { source: Source; frame: SummaryFrame; token: number }) {
  const spot = useStore((s) => s.spot);
  const writing = useStore((s) => s.live[source.id] !== undefined);
  const full = useStore((s) => s.capture.mode === 'full') && !writing;
  const view = useStore((s) => s.look.view);
  const single = view === 'layer' || view === 'model' || view === 'time' || full || source.kind === 'run';
  const { value: record, valueKey } = useRecord(source, single ? token : -1);
  const layer = Math.min(frame.layers.length - 1, spot.layer);
  const neuron = Math.min(frame.neurons - 1, spot.neuron);
  const known = record && record !== 'none' && valueKey === `${source.id} ${token}` ? record : null;
  return (
    <>
      <h3>
        Layer {layer}, neuron {neuron}
      </h3>
      <p>
        {known
          ? capital(`${stateWords[neuronCode(stateOf(known, layer, neuron), known.layers[layer]!)]}.`)
          : blockWords(frame, layer, Math.floor(neuron / frame.blockSize))}
      </p>
      <Actions kind="neuron" layer={layer} index={neuron} />
    </>
  );
}

function Actions({ kind, layer, index }: { kind: 'neuron' | 'head'; layer: number; index: number }) {
  const { addEdit, setLook } = useStore.getState();
  const small = `${controls.button} ${controls.buttonSmall}`;
  return (
    <div className={css.buttons}>
      <button type="button" className={small} onClick={() => setLook({ view: 'time', over: kind })}>
        Over every token
      </button>
      <button
        type="button"
        className={small}
        onClick={() => {
          addEdit({ kind, layer, index, action: 'off', value: 0 });
          setLook({ view: 'intervene' });
        }}
      >
        Switch off
      </button>
    </div>
  );
}

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);
