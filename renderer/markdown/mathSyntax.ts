import { mathFromMarkdown } from 'mdast-util-math';
import type { InlineMath } from 'mdast-util-math';
import type {} from 'micromark-extension-math'; // names its tokens
import type { CompileContext, Extension as FromMarkdown, Token } from 'mdast-util-from-markdown';
import type { Code, Construct, Effects, Extension, State, TokenizeContext } from 'micromark-util-types';
import type { Processor } from 'unified';
import {
  backslash,
  bracketClose,
  bracketOpen,
  dollar,
  isDigit,
  isLineEnding,
  isSpace,
  parenClose,
  parenOpen,
} from './characters';
import { bracketFlow, dollarFlow } from './mathFlow';

/**
 * Math as language models write it: `$x$`, `$$x$$`, `\(x\)`, `\[x\]`. remark-math alone knows only dollars, and it takes
 * "$5 or $10" for a formula. Here a single dollar follows pandoc's rule: no space inside the dollars, no digit after
 * the closing one. mathFlow.ts has the formulas that are blocks of their own.
 */
declare module 'micromark-util-types' {
  interface Token {
    mathDisplay?: boolean;
  }
}

/** Content up to `atEnd`, one mathTextData token a line. `atEnd` sees each character and may take over by returning a state. */
function content(effects: Effects, nok: State, atEnd: (code: Code, previous: Code) => State | undefined): State {
  let previous: Code = null;
  let inside = false;
  const leave = (): void => {
    if (inside) effects.exit('mathTextData');
    inside = false;
  };
  const step: State = (code) => {
    if (code === null) return nok(code);
    if (isLineEnding(code)) {
      leave();
      effects.enter('lineEnding');
      effects.consume(code);
      effects.exit('lineEnding');
      previous = code;
      return step;
    }
    const next = atEnd(code, previous);
    if (next) {
      leave();
      return next(code);
    }
    if (!inside) effects.enter('mathTextData');
    inside = true;
    effects.consume(code);
    // An escaped character is not a delimiter: `\\` hides the second backslash, `\$` the dollar.
    previous = previous === backslash && code === backslash ? null : code;
    return step;
  };
  return step;
}

function tokenizeDollars(this: TokenizeContext, effects: Effects, ok: State, nok: State): State {
  let size = 1;
  let token: Token;

  const start: State = (code) => {
    token = effects.enter('mathText');
    effects.enter('mathTextSequence');
    effects.consume(code);
    return opened;
  };
  const opened: State = (code) => {
    if (code === dollar && size === 1) {
      size = 2;
      effects.consume(code);
      return opened;
    }
    if (code === null || code === dollar || (size === 1 && isSpace(code))) return nok(code);
    token.mathDisplay = size === 2;
    effects.exit('mathTextSequence');
    return content(effects, nok, (at, previous) => {
      if (at !== dollar || previous === backslash) return undefined;
      return size === 1 && isSpace(previous) ? nok : close;
    })(code);
  };
  const close: State = (code) => {
    effects.enter('mathTextSequence');
    effects.consume(code);
    return size === 1 ? closed : closeSecond;
  };
  const closeSecond: State = (code) => {
    if (code !== dollar) return nok(code);
    effects.consume(code);
    return closed;
  };
  const closed: State = (code) => {
    if (size === 1 && (isDigit(code) || code === dollar)) return nok(code);
    effects.exit('mathTextSequence');
    effects.exit('mathText');
    return ok(code);
  };
  return start;
}

function tokenizeBackslash(this: TokenizeContext, effects: Effects, ok: State, nok: State): State {
  let closing: Code;
  let token: Token;
  let escaped = false;

  const start: State = (code) => {
    token = effects.enter('mathText');
    effects.enter('mathTextSequence');
    effects.consume(code);
    return opened;
  };
  const opened: State = (code) => {
    if (code !== parenOpen && code !== bracketOpen) return nok(code);
    closing = code === parenOpen ? parenClose : bracketClose;
    token.mathDisplay = code === bracketOpen;
    effects.consume(code);
    effects.exit('mathTextSequence');
    return inside;
  };
  const inside: State = (code) =>
    content(effects, nok, (at, previous) => (at === backslash && previous !== backslash ? close : undefined))(code);
  /** At a backslash: the closing delimiter, or a command of the formula. */
  const close: State = (code) => effects.attempt({ tokenize: tokenizeClosing, partial: true }, done, command)(code);
  const command: State = (code) => {
    effects.enter('mathTextData');
    effects.consume(code);
    escaped = true;
    return afterCommand;
  };
  const afterCommand: State = (code) => {
    if (code === null) return nok(code);
    // `\\` is one command: its second backslash does not start a delimiter.
    if (escaped && code === backslash) effects.consume(code);
    else {
      effects.exit('mathTextData');
      return inside(code);
    }
    escaped = false;
    return afterCommand;
  };
  const done: State = (code) => {
    effects.exit('mathText');
    return ok(code);
  };
  function tokenizeClosing(effects: Effects, ok: State, nok: State): State {
    return (code) => {
      effects.enter('mathTextSequence');
      effects.consume(code);
      return (code) => {
        if (code !== closing) return nok(code);
        effects.consume(code);
        effects.exit('mathTextSequence');
        return ok;
      };
    };
  }
  return start;
}

const syntax = (): Extension => {
  const dollars: Construct = {
    name: 'mathText',
    tokenize: tokenizeDollars,
    previous(code) {
      return code !== dollar || this.events[this.events.length - 1]?.[1].type === 'characterEscape';
    },
  };
  const backslashes: Construct = { name: 'mathText', tokenize: tokenizeBackslash };
  return {
    flow: { [dollar]: dollarFlow, [backslash]: bracketFlow },
    text: { [dollar]: dollars, [backslash]: backslashes },
  };
};

const toTree = (): FromMarkdown => ({
  enter: {
    mathText(this: CompileContext, token: Token) {
      const className = ['language-math', token.mathDisplay ? 'math-display' : 'math-inline'];
      const node: InlineMath = {
        type: 'inlineMath',
        value: '',
        data: { hName: 'code', hProperties: { className }, hChildren: [] },
      };
      this.enter(node, token);
      this.buffer();
    },
  },
  exit: {
    mathText(this: CompileContext, token: Token) {
      const value = this.resume().trim();
      const node = this.stack[this.stack.length - 1] as InlineMath;
      node.value = value;
      node.data = { ...node.data, hChildren: [{ type: 'text', value }] };
      this.exit(token);
    },
    mathTextData(this: CompileContext, token: Token) {
      this.config.enter.data?.call(this, token);
      this.config.exit.data?.call(this, token);
    },
  },
});

/** A remark plugin in place of remark-math. */
export function remarkChatMath(this: Processor): void {
  const data = this.data();
  (data.micromarkExtensions ??= []).push(syntax());
  (data.fromMarkdownExtensions ??= []).push(mathFromMarkdown(), toTree());
}
