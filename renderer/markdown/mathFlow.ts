import type { Code, Construct, Effects, State, TokenizeContext, Tokenizer } from 'micromark-util-types';
import { backslash, bracketClose, bracketOpen, dollar, isLineEnding, isSpace } from './characters';

/**
 * A displayed formula that has its lines for itself: `$$ … $$` or `\[ … \]`, on one line or several. It must be a block,
 * because a line such as `+ b` inside it would otherwise begin a list. A blank line, which TeX forbids there, ends the
 * attempt, so that an unclosed delimiter cannot swallow the rest of a reply; at the end of the text it may be open,
 * because the rest may be on its way.
 */
const mathFlow = (open: [Code, Code], close: [Code, Code]): Construct => {
  const closing: Construct = { tokenize: tokenizeClosing, partial: true };
  const nextLine: Construct = { tokenize: tokenizeNextLine, partial: true };
  return { name: 'mathFlow', tokenize, concrete: true };

  function tokenize(this: TokenizeContext, effects: Effects, ok: State, nok: State): State {
    const interrupting = this.interrupt;
    let inValue = false;

    const start: State = (code) => {
      effects.enter('mathFlow');
      effects.enter('mathFlowFence');
      effects.enter('mathFlowFenceSequence');
      effects.consume(code);
      return second;
    };
    const second: State = (code) => {
      if (code !== open[1]) return nok(code);
      effects.consume(code);
      effects.exit('mathFlowFenceSequence');
      effects.exit('mathFlowFence');
      return afterOpening;
    };
    const afterOpening: State = (code) => {
      if (code === dollar) return nok(code); // `$$$` is no formula
      return interrupting ? ok(code) : content(code);
    };
    const content: State = (code) => {
      if (code === null) return end(code);
      if (isLineEnding(code)) {
        leave();
        return effects.attempt(nextLine, content, nok)(code);
      }
      if (code === close[0]) return effects.check(closing, closeFence, data)(code);
      return data(code);
    };
    const data: State = (code) => {
      if (!inValue) effects.enter('mathFlowValue');
      inValue = true;
      effects.consume(code);
      return code === backslash ? escaped : content;
    };
    /** What follows a backslash belongs to the command: `\$` and `\\` close nothing. */
    const escaped: State = (code) => {
      if (code === null || isLineEnding(code)) return content(code);
      effects.consume(code);
      return content;
    };
    const closeFence: State = (code) => {
      leave();
      effects.enter('mathFlowFence');
      effects.enter('mathFlowFenceSequence');
      effects.consume(code);
      return closeSecond;
    };
    const closeSecond: State = (code) => {
      effects.consume(code);
      effects.exit('mathFlowFenceSequence');
      return afterClosing;
    };
    const afterClosing: State = (code) => {
      if (code !== null && isSpace(code) && !isLineEnding(code)) {
        effects.enter('whitespace');
        return trailing(code);
      }
      return closed(code);
    };
    const trailing: State = (code) => {
      if (code !== null && isSpace(code) && !isLineEnding(code)) {
        effects.consume(code);
        return trailing;
      }
      effects.exit('whitespace');
      return closed(code);
    };
    /** Text after the closing delimiter: then the formula is part of a sentence. */
    const closed: State = (code) => {
      if (code !== null && !isLineEnding(code)) return nok(code);
      effects.exit('mathFlowFence');
      return end(code);
    };
    const end: State = (code) => {
      leave();
      effects.exit('mathFlow');
      return ok(code);
    };
    const leave = (): void => {
      if (inValue) effects.exit('mathFlowValue');
      inValue = false;
    };
    return start;
  }

  function tokenizeClosing(effects: Effects, ok: State, nok: State): ReturnType<Tokenizer> {
    return (code) => {
      effects.enter('mathFlowFenceSequence');
      effects.consume(code);
      return (code) => {
        if (code !== close[1]) return nok(code);
        effects.consume(code);
        effects.exit('mathFlowFenceSequence');
        return ok;
      };
    };
  }

  /** Over a line's end, unless the next line is blank or outside of the list or quote that the formula is in. */
  function tokenizeNextLine(this: TokenizeContext, effects: Effects, ok: State, nok: State): State {
    const { parser, now } = this;
    let spaces = false;
    const lineStart: State = (code) => {
      if (parser.lazy[now().line]) return nok(code);
      return blank(code);
    };
    const blank: State = (code) => {
      if (code !== null && isSpace(code) && !isLineEnding(code)) {
        if (!spaces) effects.enter('linePrefix');
        spaces = true;
        effects.consume(code);
        return blank;
      }
      if (spaces) effects.exit('linePrefix');
      return isLineEnding(code) ? nok(code) : ok(code);
    };
    return (code) => {
      effects.enter('lineEnding');
      effects.consume(code);
      effects.exit('lineEnding');
      return lineStart;
    };
  }
};

export const dollarFlow = mathFlow([dollar, dollar], [dollar, dollar]);
export const bracketFlow = mathFlow([backslash, bracketOpen], [backslash, bracketClose]);
