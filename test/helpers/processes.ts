import { readdirSync, readFileSync } from 'node:fs';

interface Entry {
  pid: number;
  parent: number;
  group: number;
}

/** All processes of this machine; empty where there is no /proc. */
function processes(): Entry[] {
  try {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => entryOf(Number(name)));
  } catch {
    return [];
  }
}

function entryOf(pid: number): Entry[] {
  try {
    // "pid (name) state parent group …"; the name may hold blanks and brackets, and a zombie is as good as gone.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? [] : [{ pid, parent: Number(parent), group: Number(group) }];
  } catch {
    return [];
  }
}

/** The processes of this one's group and below any of them. */
function family(leader: number): number[] {
  const all = processes();
  const found = new Set(all.filter(({ pid, group }) => pid === leader || group === leader).map(({ pid }) => pid));
  for (let before = -1; before !== found.size;) {
    before = found.size;
    for (const { pid, parent } of all) if (found.has(parent)) found.add(pid);
  }
  return [...found];
}

function kill9(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Already gone.
  }
}

/** kill -9 on a process, its group and everything they started, as if the power failed. Waits until all are gone. */
export async function killFamily(leader: number): Promise<void> {
  const members = family(leader);
  // The group first: one call ends nearly all of them in the same instant.
  if (process.platform !== 'win32') kill9(-leader);
  for (const pid of [leader, ...members]) kill9(pid);
  const deadline = Date.now() + 10_000;
  while (members.some((pid) => entryOf(pid).length > 0)) {
    if (Date.now() > deadline) throw new Error(`Processes ${members.join(', ')} do not die.`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
