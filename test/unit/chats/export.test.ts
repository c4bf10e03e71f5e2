import { describe, expect, it } from 'vitest';
import { chatToJson, chatToMarkdown, exportFileName } from '../../../electron/chats/export';
import { defaultSampling } from '../../../electron/contract/entities';
import { defaults, message, openStore } from './helpers';

function sample() {
  const { store } = openStore();
  const chat = store.create({ ...defaults, systemPrompt: 'Be brief.\nBe kind.' });
  const question = message('user', null, 'Capital of France?');
  const first = message('assistant', question.id, 'Lyon.');
  const second = {
    ...message('assistant', question.id, 'Par'),
    status: 'interrupted' as const,
    provenance: {
      modelId: 'm',
      modelName: 'Small Model',
      sampling: { ...defaultSampling, seed: 1 },
      sparsity: 'dense',
    },
  };
  store.append(chat.id, [question, first, second]);
  store.changeMessage(second.id, { error: { code: 'engine-crashed', message: 'The engine stopped.' } });
  store.change(chat.id, { title: 'Capitals' });
  return { store, id: chat.id };
}

describe('export', () => {
  it('writes the shown branch as Markdown, saying how a reply ended', () => {
    const { store, id } = sample();
    const { messages, ...chat } = store.withMessages(id);
    expect(chatToMarkdown(chat, messages)).toBe(
      [
        '# Capitals',
        '> Be brief.\n> Be kind.',
        '## You',
        'Capital of France?',
        '## Hunch (Small Model)',
        'Par\n\n*(interrupted: The engine stopped.)*\n',
      ].join('\n\n'),
    );
  });

  it('writes every branch as JSON', () => {
    const { store, id } = sample();
    const { messages: _shown, ...chat } = store.withMessages(id);
    const data = JSON.parse(chatToJson(chat, store.allMessages(id)));
    expect(data).toMatchObject({
      format: 'hunch-chat',
      version: 1,
      chat: { title: 'Capitals', sparsity: defaults.sparsity },
    });
    expect(data.messages.map((one: { text: string }) => one.text)).toEqual(['Capital of France?', 'Lyon.', 'Par']);
    expect(data.messages[2].parentId).toBe(data.messages[0].id);
    expect(data.messages[2].provenance).toMatchObject({ sampling: { seed: 1 }, sparsity: 'dense' });
  });

  it.each([
    ['What is 1/2 of "x"?', 'markdown', 'What is 1 2 of x.md'],
    ['..', 'json', 'chat.json'],
    ['../../etc/passwd', 'markdown', 'etc passwd.md'],
    ['a'.repeat(300), 'json', `${'a'.repeat(80)}.json`],
    ['日本語\n\u0007', 'markdown', '日本語.md'],
  ] as const)('names the file for %j', (title, format, name) => {
    expect(exportFileName(title, format)).toBe(name);
  });
});
