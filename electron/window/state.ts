import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { replaceFile } from '../files';

export interface Rectangle {
  x: number;
  y: number;
  width: number;
  height: number;
}

const stateSchema = z.object({
  x: z.number().int(),
  y: z.number().int(),
  width: z.number().int().positive(),
  height: z.number().int().positive(),
  maximized: z.boolean(),
});
export type WindowState = z.infer<typeof stateSchema>;

export const minimumSize = { width: 480, height: 400 };
const usualSize = { width: 1180, height: 800 };

/**
 * Where the window was, moved or shrunk so that it can be reached on one of today's screens.
 * Position undefined = let the system choose.
 */
export function placeWindow(
  stored: WindowState | null,
  screens: readonly Rectangle[],
): { x?: number; y?: number; width: number; height: number; maximized: boolean } {
  const screen = stored && screens.find((candidate) => overlaps(stored, candidate));
  if (!stored || !screen) return { ...usualSize, maximized: stored?.maximized ?? false };
  const width = Math.min(Math.max(stored.width, minimumSize.width), screen.width);
  const height = Math.min(Math.max(stored.height, minimumSize.height), screen.height);
  const within = (value: number, start: number, room: number): number => Math.min(Math.max(value, start), start + room);
  return {
    x: within(stored.x, screen.x, screen.width - width),
    y: within(stored.y, screen.y, screen.height - height),
    width,
    height,
    maximized: stored.maximized,
  };
}

/** Enough of the title bar is visible to take hold of it. */
function overlaps(window: Rectangle, screen: Rectangle): boolean {
  const wide = Math.min(window.x + window.width, screen.x + screen.width) - Math.max(window.x, screen.x);
  const high = Math.min(window.y + window.height, screen.y + screen.height) - Math.max(window.y, screen.y);
  return wide >= 100 && high >= 50;
}

/** Null when there is none or it does not fit: the window then opens in its usual place. */
export function readWindowState(path: string): WindowState | null {
  try {
    return stateSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return null;
  }
}

/** Losing a window's place is no reason to bother a person. */
export function saveWindowState(path: string, state: WindowState): void {
  try {
    replaceFile(path, JSON.stringify(state) + '\n');
  } catch {
    // The next start uses the place before.
  }
}
