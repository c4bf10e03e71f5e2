import { dialog, type BrowserWindow, type MessageBoxOptions } from 'electron';
import type { ErrorBody } from '../contract/errors';

/** The system's dialogs, over the window while there is one. */
export function createDialogs(currentWindow: () => BrowserWindow | null) {
  const ask = async (options: MessageBoxOptions): Promise<number> => {
    const window = currentWindow();
    const answer = window ? dialog.showMessageBox(window, options) : dialog.showMessageBox(options);
    return (await answer).response;
  };
  return {
    async askModelFile(): Promise<string | null> {
      const window = currentWindow();
      if (!window) return null;
      const { canceled, filePaths } = await dialog.showOpenDialog(window, {
        title: 'Import a model',
        buttonLabel: 'Import',
        properties: ['openFile'],
        filters: [{ name: 'GGUF models', extensions: ['gguf'] }],
      });
      return canceled ? null : (filePaths[0] ?? null);
    },

    async askActivityFile(): Promise<string | null> {
      const window = currentWindow();
      if (!window) return null;
      const { canceled, filePaths } = await dialog.showOpenDialog(window, {
        title: 'Open activations',
        properties: ['openFile'],
        filters: [{ name: 'Activations', extensions: ['hunchframes', 'json'] }],
      });
      return canceled ? null : (filePaths[0] ?? null);
    },

    async askSavePath(fileName: string, title = 'Export chat'): Promise<string | null> {
      const window = currentWindow();
      if (!window) return null;
      const { canceled, filePath } = await dialog.showSaveDialog(window, {
        title,
        defaultPath: fileName,
      });
      return canceled || !filePath ? null : filePath;
    },

    /** The address is shown whole: a model may have written it. */
    async confirmLink(url: URL): Promise<boolean> {
      const buttons = ['Open', 'Cancel'];
      const message = `Open ${url.host} in your browser?`;
      return (
        (await ask({
          type: 'question',
          title: 'Open link',
          message,
          detail: url.href,
          buttons,
          defaultId: 1,
          cancelId: 1,
        })) === 0
      );
    },

    /** What the person should know about this start, one after the other. */
    async tell(notices: readonly ErrorBody[]): Promise<void> {
      for (const { message } of notices) {
        await ask({
          type: 'warning',
          title: 'Hunch',
          message: 'Hunch started, but something was wrong.',
          detail: message,
          buttons: ['OK'],
        });
      }
    },
  };
}
