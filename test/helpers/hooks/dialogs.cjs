// Loaded into the main process before the app: the system's dialogs are recorded and answered instead of shown, because
// nothing can click them. `globalThis.hunchDialogs` is what test/helpers/dialogs.ts reads and sets.
const { dialog, shell } = require('electron');

const state = (globalThis.hunchDialogs = { messages: [], opened: [], answer: 0, file: null });

dialog.showMessageBox = async (...args) => {
  const { message, detail = '' } = args[args.length - 1];
  state.messages.push({ message, detail });
  return { response: state.answer, checkboxChecked: false };
};
dialog.showOpenDialog = async () =>
  state.file === null ? { canceled: true, filePaths: [] } : { canceled: false, filePaths: [state.file] };
dialog.showSaveDialog = async () =>
  state.file === null ? { canceled: true } : { canceled: false, filePath: state.file };
shell.openExternal = async (url) => void state.opened.push(url);
