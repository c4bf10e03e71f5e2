import { newChatKey } from '../store/draftsSlice';
import { useStore } from '../store/store';
import css from './EmptyState.module.css';
import { Mark } from './Mark';
import { ModelReadiness } from './ModelReadiness';

const examples = [
  'Explain in two sentences why the sky is blue.',
  'Write a short poem about the first snow.',
  'Give me three ideas for a rainy Sunday.',
];

/** A chat without messages: what one might ask, and whether there is a model to answer. */
export function EmptyState() {
  const key = useStore((s) => s.activeId ?? newChatKey);
  const { setDraft, wishFocus } = useStore.getState();
  return (
    <div className={css.scroll}>
      <section className={css.empty} aria-label="Start">
        <Mark size={44} />
        <h2 className={css.heading}>What are you curious about?</h2>
        <ModelReadiness />
        <ul className={css.examples} aria-label="Examples">
          {examples.map((example) => (
            <li key={example}>
              <button
                type="button"
                onClick={() => {
                  setDraft(key, example);
                  wishFocus('composer');
                }}
              >
                {example}
              </button>
            </li>
          ))}
        </ul>
      </section>
    </div>
  );
}
