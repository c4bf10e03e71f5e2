import { describe, expect, it } from 'vitest';
import { ChatTemplate } from '../../../electron/models/template';

const tokens = { bos: '<s>', eos: '</s>' };
const template = (source: string | null): ChatTemplate => new ChatTemplate(source, 'tiny.gguf', tokens);
const question = [{ role: 'user' as const, content: 'Hi' }];

describe('a chat template', () => {
  it('is ChatML where the model has none', () => {
    expect(template(null).render([{ role: 'system', content: 'Be brief' }, ...question])).toBe(
      '<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
    );
  });

  it('gets the tokens, the generation prompt and the usual globals', () => {
    const source =
      "{{ bos_token }}{% for i in range(2) %}{{ i }}{% endfor %}{{ none is none }}{{ strftime_now('%Y')|length }}" +
      '{% if add_generation_prompt %}>{% endif %}{{ eos_token }}';
    expect(template(source).render(question)).toBe('<s>01true4></s>');
  });

  it('moves the system prompt into the first message where a template refuses one', () => {
    const source =
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" +
      '[{{ m.role }}] {{ m.content }}\n{% endfor %}';
    expect(template(source).render([{ role: 'system', content: 'Be brief' }, ...question])).toBe(
      '[user] Be brief\n\nHi\n',
    );
  });

  it('names the file and what the template says', () => {
    expect(() => template('{% for %}')).toThrow(/"tiny.gguf" does not work/);
    expect(() => template("{{ raise_exception('roles must alternate') }}").render(question)).toThrow(
      /roles must alternate/,
    );
  });
});

describe('a hostile template', () => {
  const hostile: Record<string, string> = {
    'endless nested loops':
      '{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}',
    'a huge range': '{% for a in range(9999999999) %}{% endfor %}',
    'a list that doubles':
      '{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}',
    'a text that doubles':
      "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
    'a text that multiplies by replacing':
      "{% set ns = namespace(x='aaaaaaaaaa') %}{% for i in range(9) %}{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}",
    'endless recursion': '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
    'a huge indent': "{{ 'a\nb' | indent(400000000) }}",
    'slow sorting': '{% for i in range(99999) %}{% set x = range(99999) | sort(reverse=true) %}{% endfor %}',
  };

  it.each(Object.entries(hostile))('%s ends soon with an error', (_, source) => {
    const start = performance.now();
    expect(() => template(source).render(question)).toThrow(/chat template of "tiny.gguf" does not work/);
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it('reaches neither the process nor prototypes', () => {
    for (const source of [
      "{{ messages.constructor.constructor('return process')() }}",
      '{{ messages.__proto__.x }}',
      "{{ ''.constructor }}",
      '{{ process.env }}',
    ]) {
      const render = (): string => template(source).render(question);
      let text = '';
      try {
        text = render();
      } catch {
        // an error is as good as nothing
      }
      expect(text).toBe('');
    }
  });

  it('cannot be longer than any real one', () => {
    expect(() => template('a'.repeat(300_000))).toThrow(/takes more than 262144 characters/);
    expect(() => template('{{ ['.repeat(50_000))).toThrow(/does not work/);
  });
});
