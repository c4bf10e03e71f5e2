import { spawn } from 'node:child_process';
import { findElectron } from './electron-runtime.mjs';
import { isLinux, isRoot, root } from './paths.mjs';
import { StepError, say } from './ui.mjs';

/** Chromium's sandbox refuses to start for root; nobody else goes without it. */
export const sandboxSwitches = () => (isLinux && isRoot ? ['--no-sandbox'] : []);

/**
 * Opens the app and waits until it ends.
 * @param {string[]} args handed to the app
 * @returns {Promise<number>} its exit code
 */
export function launchApp(args) {
  const runtime = findElectron();
  const switches = sandboxSwitches();
  if (switches.length > 0) say('Running as root: Chromium’s sandbox is off. Use an ordinary user for everyday chats.');
  const env = { ...process.env };
  delete env.ELECTRON_RUN_AS_NODE; // set by some editors' terminals
  return new Promise((resolve, reject) => {
    const child = spawn(runtime.executable, [...switches, root, ...args], {
      stdio: ['inherit', 'inherit', 'pipe'],
      env,
    });
    let tail = '';
    child.stderr.on('data', (chunk) => {
      tail = (tail + chunk).slice(-8000);
      process.stderr.write(chunk);
    });
    const forward = (signal) => child.kill(signal);
    for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, forward);
    process.on('SIGINT', () => {}); // the terminal sends it to the app as well, which closes itself
    child.on('error', (error) =>
      reject(new StepError(`Electron could not be started: ${error.message}`, remedyFor(''))),
    );
    child.on('close', (code, signal) => {
      const known = diagnoses.find((one) => code !== 0 && one.sign.test(tail));
      if (known) reject(new StepError(known.cause, known.remedy(runtime)));
      else resolve(code ?? (signal === 'SIGINT' ? 130 : 143));
    });
  });
}

const diagnoses = [
  {
    sign: /error while loading shared libraries: (\S+)/,
    cause: 'A system library that Electron needs is missing (its name is above).',
    remedy: () => remedyFor('library'),
  },
  {
    sign: /SUID sandbox helper binary was found, but is not configured correctly|No usable sandbox/,
    cause: 'This system forbids ordinary programs the sandbox that Chromium needs.',
    remedy: (runtime) =>
      `Give Electron’s helper the right it asks for, once:\nsudo chown root:root ${runtime.folder}/chrome-sandbox && sudo chmod 4755 ${runtime.folder}/chrome-sandbox`,
  },
  {
    sign: /Missing X server or \$DISPLAY|Unable to open X display|cannot open display/i,
    cause: 'The display cannot be opened.',
    remedy: () => 'Start it from a desktop session, or use npm run hunch -- run for a chat in the terminal.',
  },
];

function remedyFor(kind) {
  return kind === 'library'
    ? 'Install the package that holds it, or delete .cache and run npm start again as root on Debian or Ubuntu.'
    : 'Run npm run setup, or set ELECTRON_OVERRIDE_DIST_PATH to an unpacked Electron.';
}
