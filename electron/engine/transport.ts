import type { ChildProcess } from 'node:child_process';

/** The engine process as the main process sees it, whichever way it was started. */
export interface EngineProcess {
  readonly pid: number | undefined;
  send(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
  /** Called once; `how` is for the log, e.g. 'signal SIGKILL' or 'code 70'. */
  onExit(listener: (how: string) => void): void;
  kill(): void;
}

export type ForkEngine = () => EngineProcess;

/** The part of Electron's UtilityProcess that is used; named here so that plain Node needs no Electron. */
interface UtilityProcessLike {
  readonly pid: number | undefined;
  postMessage(message: unknown): void;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  once(event: 'exit', listener: (code: number) => void): unknown;
  kill(): boolean;
}

export function fromUtilityProcess(child: UtilityProcessLike): EngineProcess {
  let gone = false;
  child.once('exit', () => (gone = true));
  return {
    get pid() {
      return child.pid;
    },
    send: (message) => {
      if (!gone) child.postMessage(message);
    },
    onMessage: (listener) => void child.on('message', listener),
    onExit: (listener) => void child.once('exit', (code) => listener(`code ${code}`)),
    kill: () => void child.kill(),
  };
}

export function fromChildProcess(child: ChildProcess): EngineProcess {
  return {
    get pid() {
      return child.pid;
    },
    // A process that is dying no longer takes messages; its exit is what the host acts on.
    send: (message) => {
      if (child.connected) child.send(message as object, () => {});
    },
    onMessage: (listener) => void child.on('message', listener),
    onExit: (listener) => {
      let called = false;
      const once = (how: string): void => {
        if (!called) listener(how);
        called = true;
      };
      child.once('exit', (code, signal) => once(signal ? `signal ${signal}` : `code ${code}`));
      child.once('error', (error) => once(error.message));
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

/** The main process as the engine process sees it. */
export interface ParentLink {
  send(message: unknown): void;
  onMessage(listener: (message: unknown) => void): void;
}

interface ParentPortLike {
  postMessage(message: unknown): void;
  on(event: 'message', listener: (event: { data: unknown }) => void): unknown;
}

/** Inside a utilityProcess or a forked child. The process ends with its parent: nothing may outlive the app. */
export function parentLink(): ParentLink {
  const port = (process as unknown as { parentPort?: ParentPortLike | null }).parentPort;
  if (port) {
    return {
      send: (message) => port.postMessage(message),
      onMessage: (listener) => void port.on('message', (event) => listener(event.data)),
    };
  }
  if (!process.send) throw new Error('The engine process was started on its own; Hunch starts it.');
  process.once('disconnect', () => process.exit(0));
  return {
    send: (message) => {
      if (process.connected) process.send?.(message);
    },
    onMessage: (listener) => void process.on('message', listener),
  };
}
