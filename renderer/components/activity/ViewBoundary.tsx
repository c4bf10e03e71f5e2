import { Component, type ReactNode } from 'react';
import controls from '../controls.module.css';
import css from './Activity.module.css';

/** A view that cannot be drawn must not take the conversation with it. Mounted anew for each view and source (key). */
export class ViewBoundary extends Component<{ children: ReactNode }, { problem: string | null }> {
  override state = { problem: null as string | null };

  static getDerivedStateFromError(error: unknown): { problem: string } {
    return { problem: error instanceof Error ? error.message : String(error) };
  }

  override render(): ReactNode {
    if (this.state.problem === null) return this.props.children;
    return (
      <div className={css.empty} role="alert">
        <h3>This view cannot be drawn</h3>
        <p>The chat is not affected. What went wrong: {this.state.problem}</p>
        <button
          type="button"
          className={`${controls.button} ${controls.buttonSmall}`}
          onClick={() => this.setState({ problem: null })}
        >
          Try again
        </button>
      </div>
    );
  }
}
