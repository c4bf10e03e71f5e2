import type { Chat, Message } from '../contract/entities';

/** The shown branch as Markdown, to read or to paste elsewhere. */
export function chatToMarkdown(chat: Chat, branch: readonly Message[]): string {
  const parts = [`# ${chat.title}`];
  if (chat.systemPrompt) parts.push(`> ${chat.systemPrompt.replace(/\n/g, '\n> ')}`);
  for (const message of branch) {
    const model = message.provenance ? ` (${message.provenance.modelName})` : '';
    parts.push(message.role === 'user' ? '## You' : `## Hunch${model}`, message.text + endNote(message));
  }
  return parts.join('\n\n') + '\n';
}

function endNote(message: Message): string {
  if (message.status === 'complete') return '';
  return `\n\n*(${message.status}${message.error ? `: ${message.error.message}` : ''})*`;
}

/** The whole tree with how each reply was made; enough to rebuild the chat. */
export function chatToJson(chat: Chat, messages: readonly Message[]): string {
  const plain = messages.map(({ siblings: _siblings, chatId: _chatId, ...message }) => message);
  return JSON.stringify({ format: 'hunch-chat', version: 1, chat, messages: plain }, null, 2) + '\n';
}

/** A file name every system accepts. */
export function exportFileName(title: string, format: 'markdown' | 'json'): string {
  return exportName(title, format === 'markdown' ? 'md' : 'json');
}

/** The same with an extension of choice. */
export function exportName(title: string, extension: string): string {
  const name = title
    .replace(/[\u0000-\u001f<>:"/\\|?*]/g, ' ')
    .replace(/\s+/g, ' ')
    .replace(/^[. ]+|[. ]+$/g, '')
    .slice(0, 80);
  return `${name || 'chat'}.${extension}`;
}
