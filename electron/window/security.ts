import { app, session, type WebContents } from 'electron';
import { isOwnUrl } from './assets';

/** The page needs to copy text; everything else a page may ask for (camera, notifications, location …) is denied. */
const allowed = new Set(['clipboard-sanitized-write']);

export function denyPermissions(): void {
  session.defaultSession.setPermissionRequestHandler((contents, permission, answer) => {
    answer(allowed.has(permission) && isOwnUrl(contents?.getURL() ?? ''));
  });
  session.defaultSession.setPermissionCheckHandler((contents, permission) => {
    return allowed.has(permission) && isOwnUrl(contents?.getURL() ?? '');
  });
  session.defaultSession.on('will-download', (event) => event.preventDefault());
}

/** No web contents of this app, however it came to be, leaves its page, opens another or embeds one. */
export function confineContents(): void {
  app.on('web-contents-created', (_event, contents: WebContents) => {
    contents.on('will-navigate', (event) => event.preventDefault());
    contents.on('will-redirect', (event) => event.preventDefault());
    contents.on('will-attach-webview', (event) => event.preventDefault());
    contents.setWindowOpenHandler(() => ({ action: 'deny' }));
  });
}
