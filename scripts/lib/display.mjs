import { createConnection } from 'node:net';
import { isLinux } from './paths.mjs';

/** Why no window can be opened here, or null when one can. */
export async function displayProblem() {
  if (!isLinux) return null;
  if (process.env.WAYLAND_DISPLAY) return null;
  const display = process.env.DISPLAY;
  if (!display) return 'no display is set (DISPLAY and WAYLAND_DISPLAY are empty)';
  const local = /^(?:unix)?:(\d+)/.exec(display);
  if (local && !(await answers(`/tmp/.X11-unix/X${local[1]}`))) return `no display answers at DISPLAY=${display}`;
  return null;
}

function answers(socketPath) {
  return new Promise((resolve) => {
    const socket = createConnection(socketPath);
    socket.setTimeout(1000);
    const done = (result) => {
      socket.destroy();
      resolve(result);
    };
    socket.on('connect', () => done(true));
    socket.on('error', () => done(false));
    socket.on('timeout', () => done(false));
  });
}
