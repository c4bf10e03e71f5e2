import type { VerbName } from './channels';

/** The one channel for invokes; the verb's name is its first argument. */
export const invokeChannel = 'hunch:invoke';
/** Main → renderer broadcasts (events.ts). */
export const eventChannel = 'hunch:event';
/** Main → renderer, carries one MessagePort: { replyId }. */
export const replyPortChannel = 'hunch:reply-port';

/**
 * The keys of `verbs` for the preload, which runs at every start and needs no schemas. The type makes a forgotten or
 * superfluous name a compile error.
 */
const names: Record<VerbName, true> = {
  'app.info': true,
  'app.openLink': true,
  'settings.get': true,
  'settings.set': true,
  'models.list': true,
  'models.select': true,
  'models.download': true,
  'models.cancelDownload': true,
  'models.import': true,
  'engine.status': true,
  'engine.restart': true,
  'engine.gpus': true,
  'sparsity.state': true,
  'sparsity.calibrate': true,
  'sparsity.cancelCalibration': true,
  'activity.watch': true,
  'activity.reply': true,
  'activity.record': true,
  'activity.neuron': true,
  'activity.rates': true,
  'activity.rerun': true,
  'activity.cancelRerun': true,
  'activity.lens': true,
  'activity.residency': true,
  'activity.save': true,
  'activity.open': true,
  'chats.list': true,
  'chats.search': true,
  'chats.create': true,
  'chats.get': true,
  'chats.rename': true,
  'chats.configure': true,
  'chats.remove': true,
  'chats.restore': true,
  'chats.showBranch': true,
  'chats.export': true,
  'reply.start': true,
  'reply.regenerate': true,
  'reply.continue': true,
  'reply.stop': true,
};
export const verbNames = Object.keys(names) as VerbName[];
