import { vi } from 'vitest';
import { program } from '../../../electron/cli/main';

export interface Captured {
  stdout: string;
  stderr: string;
  exitCode: number;
}

/** Runs a command of the CLI in this process and returns what it wrote. */
export async function hunch(...args: string[]): Promise<Captured> {
  const captured = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((chunk) => {
      captured[stream] += String(chunk);
      return true;
    }),
  );
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    const commands = program();
    for (const command of [commands, ...commands.commands]) command.exitOverride();
    let exitCode = 0;
    await commands.parseAsync(args, { from: 'user' }).catch((error: { exitCode?: number }) => {
      if (error.exitCode === undefined) throw error;
      exitCode = error.exitCode; // commander's own: help, wrong options
    });
    return { ...captured, exitCode: exitCode || Number(process.exitCode ?? 0) };
  } finally {
    for (const spy of spies) spy.mockRestore();
    process.exitCode = before;
  }
}
