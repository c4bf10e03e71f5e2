import type { Message } from '../../electron/contract/entities';
import { formatCount, formatDuration, formatRate } from './format';

/** The line under a reply: speed first with the place on the slider that it was reached at, then latency, length, and why it ended if it did not end by itself. */
export function statsParts({ stats, status, provenance }: Pick<Message, 'stats' | 'status' | 'provenance'>): string[] {
  const parts: string[] = [];
  if (stats) {
    if (stats.generatedTokens > 1 && stats.tokensPerSecond > 0) parts.push(formatRate(stats.tokensPerSecond));
    if (provenance) parts.push(provenance.sparsity);
    parts.push(`${formatDuration(stats.timeToFirstTokenMs)} to first token`);
    parts.push(`${formatCount(stats.generatedTokens)} ${stats.generatedTokens === 1 ? 'token' : 'tokens'}`);
  }
  if (status === 'interrupted') parts.push('interrupted');
  else if (status === 'stopped' || stats?.stopReason === 'stopped') parts.push('stopped');
  else if (stats?.stopReason === 'context') parts.push('context full');
  else if (stats?.stopReason === 'length') parts.push('token limit reached');
  return parts;
}
