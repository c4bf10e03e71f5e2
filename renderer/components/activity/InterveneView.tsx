import { X } from 'lucide-react';
import { useState } from 'react';
import type { FormEvent } from 'react';
import type { Edit } from '../../../electron/contract/activity';
import { editWords, parsePlace, placeWords } from '../../activity/edits';
import { identical } from '../../activity/difference';
import type { Source } from '../../activity/source';
import { useStore } from '../../store/store';
import controls from '../controls.module.css';
import { IconButton } from '../IconButton';
import css from './Activity.module.css';
import { Choice } from './Choice';
import type { ViewProps } from './SummaryViews';
import { TextDiff } from './TextDiff';
import { RunFacts } from './RunFacts';

/** What happens without a neuron or head: the reply again, with the same seed and these edits. */
export function InterveneView({ source, frame }: ViewProps) {
  const edits = useStore((s) => s.edits);
  const running = useStore((s) => s.rerunning);
  const writing = useStore((s) => Object.keys(s.live).length > 0);
  const { removeEdit, clearEdits, setLook, compareWith, lookAt } = useStore.getState();
  const [result, setResult] = useState<{ without: Source; with: Source | null; original: Source | null } | null>(null);
  const { messageId } = source;

  const regenerate = async (): Promise<void> => {
    if (messageId === null) return;
    const { rerun, capture, sources } = useStore.getState();
    const original = sources[messageId] ?? null;
    const request = {
      messageId,
      position: null,
      mode: 'write',
      auditEvery: capture.auditEvery,
      maxTokens: Math.max(64, original?.track.length ?? 0, source.track.length),
    } as const;
    const without = await rerun({ ...request, edits: [] }, 'Again without edits');
    if (!without) return;
    const edited =
      edits.length > 0 ? await rerun({ ...request, edits }, edits.map(editWords).join(', ').slice(0, 80)) : null;
    setResult({ without, with: edited, original: original && original.track.length > 0 ? original : null });
  };

  return (
    <div className={`${css.main} ${css.scroll}`}>
      <EditForm frame={frame} />
      {edits.length > 0 ? (
        <ul className={css.chips} aria-label="Edits">
          {edits.map((edit, i) => (
            <li key={editWords(edit)} className={css.chip}>
              {editWords(edit)}
              <IconButton small label={`Remove: ${editWords(edit)}`} onClick={() => removeEdit(i)}>
                <X size={13} aria-hidden />
              </IconButton>
            </li>
          ))}
        </ul>
      ) : (
        <p className={css.small}>
          No edits: regenerating then shows that the same seed gives the same tokens. Add a place above, or choose one
          in any picture and press “Switch off” beside it.
        </p>
      )}
      <div className={css.buttons}>
        <button
          type="button"
          className={`${controls.button} ${controls.buttonSmall} ${controls.primary}`}
          disabled={messageId === null || running !== null || writing}
          onClick={() => void regenerate()}
        >
          Regenerate with {edits.length === 0 ? 'no edits' : edits.length === 1 ? 'this edit' : `${edits.length} edits`}
        </button>
        {edits.length > 0 && (
          <button type="button" className={`${controls.button} ${controls.buttonSmall}`} onClick={clearEdits}>
            Remove all
          </button>
        )}
      </div>
      {result && <Unchanged original={result.original} again={result.without} />}
      {result?.with && (
        <>
          <RunFacts sources={[result.without, result.with]} />
          <TextDiff a={result.without} b={result.with} />
          <div className={css.buttons}>
            <button
              type="button"
              className={`${controls.button} ${controls.buttonSmall}`}
              onClick={() => {
                compareWith(result.with!.id, 0);
                void lookAt(result.without.id, Math.min(1, result.without.track.length - 1));
                setLook({ view: 'compare' });
              }}
            >
              Compare the activations
            </button>
          </div>
        </>
      )}
    </div>
  );
}

/** An empty list of edits must change nothing; whether it did is shown, not assumed. */
function Unchanged({ original, again }: { original: Source | null; again: Source }) {
  const text = useStore((s) => (again.messageId === null ? null : (s.messages[again.messageId]?.text ?? null)));
  const known = original !== null && original.track.tokens.every(({ id }) => id !== -1);
  const [a, b] = [known ? original.track.tokens : [], again.track.tokens];
  const end = Math.min(a.length, b.length);
  const same = known
    ? identical(a.slice(0, end), b.slice(0, end))
    : text !== null && text.trim() === (again.text ?? '').trim();
  return same ? (
    <p className={css.note}>
      <strong className={css.ok}>Without edits: identical.</strong>{' '}
      {known ? `All ${end} tokens are those of the reply.` : 'The text is the reply’s, letter by letter.'}
    </p>
  ) : (
    <p className={css.note}>
      Without edits the run already differs from the reply: the model, the slider or the chat before it has changed
      since. The comparison below is with the run without edits.
    </p>
  );
}

const actions = [
  ['off', 'switch off'],
  ['clamp', 'at most ±'],
  ['force', 'force to'],
] as const;

function EditForm({ frame }: { frame: ViewProps['frame'] }) {
  const spot = useStore((s) => s.spot);
  const [text, setText] = useState('');
  const [action, setAction] = useState<Edit['action']>('off');
  const [value, setValue] = useState(1);
  const [problem, setProblem] = useState<string | null>(null);
  const add = (event: FormEvent): void => {
    event.preventDefault();
    const place = parsePlace(text);
    const most = place && (place.kind === 'head' ? frame.heads : frame.neurons);
    if (!place) setProblem('Type a place as “layer 12 neuron 345” or “layer 3 head 2”.');
    else if (place.layer >= frame.layers.length || place.index >= most!) {
      setProblem(`This model has layers 0 to ${frame.layers.length - 1} with ${place.kind}s 0 to ${most! - 1}.`);
    } else if (!Number.isFinite(value)) setProblem('The value must be a number.');
    else {
      useStore.getState().addEdit({ ...place, action, value: action === 'off' ? 0 : value });
      setText('');
      setProblem(null);
    }
  };
  return (
    <form className={css.options} onSubmit={add}>
      <label className={css.choice}>
        <span>Place</span>
        <input
          className={css.place}
          value={text}
          placeholder={placeWords({ kind: 'neuron', layer: spot.layer, index: spot.neuron })}
          aria-invalid={problem !== null}
          aria-describedby={problem !== null ? 'edit-problem' : undefined}
          onChange={(event) => setText(event.target.value)}
        />
      </label>
      <Choice label="Do" value={action} options={actions} onChange={setAction} />
      {action !== 'off' && (
        <label className={css.choice}>
          <span>value</span>
          <input
            type="number"
            step="any"
            value={Number.isFinite(value) ? value : ''}
            onChange={(event) => setValue(event.target.valueAsNumber)}
          />
        </label>
      )}
      <button type="submit" className={`${controls.button} ${controls.buttonSmall}`}>
        Add
      </button>
      {problem !== null && (
        <span id="edit-problem" role="alert" className={css.note}>
          {problem}
        </span>
      )}
    </form>
  );
}
