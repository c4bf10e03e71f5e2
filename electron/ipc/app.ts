import type { AppInfo } from '../contract/entities';
import { HunchError } from '../contract/errors';
import type { DomainHandlers } from './dispatch';

export interface AppDependencies {
  info: AppInfo;
  /** Asks the person; true when they agree. */
  confirmLink(url: URL): Promise<boolean>;
  openExternal(url: string): Promise<void>;
}

export function appHandlers({ info, confirmLink, openExternal }: AppDependencies): DomainHandlers<'app'> {
  return {
    'app.info': () => info,
    'app.openLink': async ({ url }) => {
      const link = parseLink(url);
      if (!(await confirmLink(link))) return { opened: false };
      await openExternal(link.href);
      return { opened: true };
    },
  };
}

/** A model writes links: only plain https addresses without a user name (`https://bank.example@evil.example`) pass. */
function parseLink(text: string): URL {
  const url = new URL(text);
  if (url.protocol === 'https:' && url.username === '' && url.password === '') return url;
  throw new HunchError(
    'bad-request',
    'Hunch opens only https links without a user name in them. Copy the link if you trust it.',
  );
}
