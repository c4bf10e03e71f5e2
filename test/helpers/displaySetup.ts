import { startXvfb } from '../../scripts/lib/xvfb.mjs';

/** One virtual display for all window tests, so that no window pops up over a person's work. Other systems use theirs. */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  if (process.platform !== 'linux') return undefined;
  const server = await startXvfb();
  process.env['DISPLAY'] = server.display; // the test workers inherit it
  delete process.env['WAYLAND_DISPLAY'];
  return () => server.stop();
}
