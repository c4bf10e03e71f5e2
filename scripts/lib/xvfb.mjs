import { spawn } from 'node:child_process';
import { StepError } from './ui.mjs';

/**
 * Starts a virtual display with a number that the server picks itself, so runs side by side never collide.
 * @returns {Promise<{display: string, stop: () => Promise<void>}>}
 */
export function startXvfb() {
  return new Promise((resolve, reject) => {
    const server = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1440x900x24', '-nolisten', 'tcp', '-noreset'], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    let complaint = '';
    let number = '';
    const fail = (why) => {
      clearTimeout(timer);
      server.kill('SIGKILL');
      reject(
        new StepError(
          `The virtual display (Xvfb) ${why}. ${complaint.trim()}`.trim(),
          'Run `Xvfb -displayfd 1` by hand to see what it misses (packages xvfb and xauth), or set DISPLAY.',
        ),
      );
    };
    const timer = setTimeout(() => fail('did not start within 15 s'), 15_000);
    server.on('error', (error) => fail(error.code === 'ENOENT' ? 'is not installed' : error.message));
    server.on('exit', (code) => fail(`ended with code ${code}`));
    server.stderr.on('data', (chunk) => (complaint = (complaint + chunk).slice(-2000)));
    server.stdio[3].on('data', (chunk) => {
      number += chunk;
      if (!number.includes('\n')) return;
      clearTimeout(timer);
      server.removeAllListeners('exit');
      const killed = () => server.kill('SIGKILL');
      process.once('exit', killed);
      resolve({ display: `:${number.trim()}`, stop: () => end(server, killed) });
    });
  });
}

function end(server, killed) {
  process.off('exit', killed);
  if (server.exitCode !== null || server.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    server.on('exit', () => resolve());
    server.kill('SIGTERM');
    setTimeout(() => server.kill('SIGKILL'), 2000).unref();
  });
}
