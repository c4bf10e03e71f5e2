// @vitest-environment happy-dom
import { cleanup, fireEvent, render } from '@testing-library/react';
import { Tooltip } from 'radix-ui';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Markdown } from '../../../renderer/markdown/Markdown';
import { safeUrl } from '../../../renderer/markdown/pipeline';

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const view = (text: string, growing = false) => (
  <Tooltip.Provider>
    <Markdown text={text} growing={growing} />
  </Tooltip.Provider>
);
const draw = (text: string): HTMLElement => render(view(text)).container;

describe('untrusted Markdown', () => {
  it('shows HTML as text and makes no element of it', () => {
    const html = draw(
      '<script>window.pwned = 1</script>\n\nHello <b onclick="x()">you</b> <img src=x onerror="y()">\n\n<iframe src="https://example.com"></iframe>\n\n<style>*{display:none}</style>',
    );
    expect(html.querySelector('script, iframe, style, img, b, [onclick], [onerror]')).toBeNull();
    expect(html.textContent).toContain('<script>window.pwned = 1</script>');
    expect(html.textContent).toContain('<b onclick="x()">');
  });

  it('lets <br> break a table cell', () => {
    const cell = draw('| a |\n| - |\n| x<br>y |').querySelector('td');
    expect(cell?.querySelector('br')).not.toBeNull();
    expect(cell?.textContent).not.toContain('<br>');
  });

  it.each([
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](&#106;avascript:alert(1))',
    '[x](data:text/html;base64,PHNjcmlwdD4=)',
    '[x](vbscript:x)',
    '[x](file:///etc/passwd)',
    '[x](app://hunch/index.html)',
    '[x](//example.com)',
    '[x](../settings)',
    '<javascript:alert(1)>',
    '[x][r]\n\n[r]: javascript:alert(1)',
  ])('makes no link of %s', (text) => {
    expect(draw(text).querySelector('a')).toBeNull();
  });

  it('passes web links to the main process instead of following them', () => {
    const openLink = vi.fn(() => Promise.resolve({ ok: true, value: { opened: true } }));
    vi.stubGlobal('api', { app: { openLink } });
    const link = draw('[docs](https://example.com/a?b=c) and https://example.org').querySelectorAll('a');
    expect([...link].map((a) => a.getAttribute('href'))).toEqual(['https://example.com/a?b=c', 'https://example.org/']);
    const click = new MouseEvent('click', { bubbles: true, cancelable: true });
    fireEvent(link[0]!, click);
    expect(click.defaultPrevented).toBe(true);
    expect(openLink).toHaveBeenCalledWith({ url: 'https://example.com/a?b=c' });
  });

  it.each(['![a cat](https://example.com/cat.png)', '![a cat](data:image/png;base64,iVBORw0KGgo=)'])(
    'never fetches an image: %s',
    (text) => {
      const html = draw(text);
      expect(html.querySelector('img, picture, object, embed, [src]')).toBeNull();
      expect(html.textContent).toContain('a cat');
    },
  );

  it('links a remote image by its address and gives a data image none', () => {
    expect(draw('![a](https://example.com/a.png)').querySelector('a')?.textContent).toBe('https://example.com/a.png');
    expect(draw('![b](data:image/png;base64,AA==)').querySelector('a')).toBeNull();
  });

  it.each([
    '$\\href{javascript:alert(1)}{x}$',
    '$\\includegraphics{https://example.com/a.png}$',
    '$\\htmlData{a=b}{x}$',
  ])('does not let KaTeX link or fetch: %s', (text) => {
    expect(draw(text).querySelector('a, img, [data-a], [href], [src]')).toBeNull();
  });

  it('survives a macro bomb', () => {
    const bomb =
      '$$\n\\def\\a{xx}\\def\\b{\\a\\a\\a\\a}\\def\\c{\\b\\b\\b\\b}\\def\\d{\\c\\c\\c\\c}\\def\\e{\\d\\d\\d\\d}\\e\\e\\e\\e\n$$';
    const started = performance.now();
    expect(draw(bomb).innerHTML.length).toBeLessThan(20_000);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('allows only web addresses and footnote anchors', () => {
    expect(safeUrl('https://a.example/x', 'href', {} as never)).toBe('https://a.example/x');
    expect(safeUrl('#user-content-fn-1', 'href', {} as never)).toBe('#user-content-fn-1');
    expect(safeUrl(' javascript:alert(1)', 'href', {} as never)).toBe('');
    expect(safeUrl('https:evil', 'href', {} as never)).toBe('https://evil/');
    expect(safeUrl('blob:https://a.example/x', 'href', {} as never)).toBe('');
  });
});

describe('Markdown as models write it', () => {
  const formulas = (text: string): (string | null)[] =>
    [...draw(text).querySelectorAll('annotation')].map((node) => node.textContent);

  it('reads dollars and backslash brackets as math', () => {
    expect(formulas('Let $x^2$ and \\(y\\) and $$z$$.')).toEqual(['x^2', 'y', 'z']);
    expect(draw('So \\[a + b\\] holds').querySelector('.katex-display annotation')?.textContent).toBe('a + b');
    expect(draw('$$\na\n$$').querySelector('.katex-display')).not.toBeNull();
    expect(formulas('\\(\\frac{a}{b} \\\\ c\\)')).toEqual(['\\frac{a}{b} \\\\ c']);
  });

  it('reads a formula over several lines as one block, whatever its lines begin with', () => {
    for (const [open, close] of [
      ['$$', '$$'],
      ['\\[', '\\]'],
    ]) {
      expect(formulas(`Text:\n${open}\na\n+ b \\\\\n- c\n${close}\nMore.`)).toEqual(['a\n+ b \\\\\n- c']);
      expect(formulas(`${open} a = b\n + c ${close}\n\nMore.`)).toEqual([' a = b\n+ c ']);
      expect(formulas(`- item\n\n  ${open}\n  x\n  ${close}\n- next`)).toEqual(['x']);
      expect(draw(`${open}x${close} and more`).textContent).toContain('and more');
    }
  });

  it('does not let an unclosed formula swallow the reply', () => {
    const html = draw('\\[ open\n\n**Bold** text\n\n$$\nalso open\n\n- item');
    expect(html.querySelector('strong')?.textContent).toBe('Bold');
    expect(html.querySelector('li')?.textContent).toBe('item');
  });

  it('leaves prices, code and open formulas alone', () => {
    expect(formulas('It costs $5, not $10, or US$7.')).toEqual([]);
    expect(formulas('`$x$` and `\\(y\\)`')).toEqual([]);
    expect(formulas('Half \\(x and half $y')).toEqual([]);
    expect(formulas('\\$x\\$')).toEqual([]);
    expect(draw('A (b) \\* c').textContent).toBe('A (b) * c');
  });

  it('keeps single newlines', () => {
    expect(draw('roses are red\nviolets are blue').querySelectorAll('br')).toHaveLength(1);
  });

  it('labels code with its language and offers to copy it', () => {
    const { container, getByRole } = render(view('```python\nprint(1)\n```'));
    expect(container.querySelector('pre')?.getAttribute('aria-label')).toBe('python code');
    expect(container.querySelector('.hljs-built_in')?.textContent).toBe('print');
    expect(getByRole('button', { name: 'Copy code' })).toBeTruthy();
  });

  it('draws a streamed text as it draws the same text from history', () => {
    const text = '# Hi\n\n1. a\n\n2. b\n\n```js\nlet a = 1\n```\n\n$$\nx\n$$\n\n| a |\n| - |\n| 1 |\n\nEnd **bold**.';
    const streamed = render(view('', true));
    for (let end = 1; end <= text.length; end++) streamed.rerender(view(text.slice(0, end), true));
    streamed.rerender(view(text, false));
    expect(streamed.container.innerHTML.replace(/«\w+»|_r_\w+_/g, '')).toBe(
      draw(text).innerHTML.replace(/«\w+»|_r_\w+_/g, ''),
    );
  });

  it('keeps the elements of finished blocks while the text grows', () => {
    const { container, rerender } = render(view('First.\n\nSecond.\n\nThird', true));
    const [first, second] = container.querySelectorAll('p');
    rerender(view('First.\n\nSecond.\n\nThird grows.\n\nFourth', true));
    const after = container.querySelectorAll('p');
    expect(after[0]).toBe(first);
    expect(after[1]).toBe(second);
    expect(after).toHaveLength(4);
  });
});
