import { ipcMain, type WebContents } from 'electron';
import { invokeChannel } from '../contract/channels';
import type { Dispatch } from './dispatch';

/** The only listener of the main process: everything the window asks for passes through `dispatch`. */
export function route(dispatch: Dispatch, mainContents: () => WebContents | null): void {
  ipcMain.handle(invokeChannel, (event, verb: unknown, input: unknown) => {
    // A frame that navigated away or was closed has no senderFrame any more.
    const frame = event.senderFrame;
    const sender = {
      isMainWindow: event.sender === mainContents(),
      isTopFrame: frame !== null && frame.parent === null,
      url: frame?.url ?? '',
    };
    return dispatch(sender, verb, input);
  });
}
