import { StepError } from '../lib/ui.mjs';

const oldestMajor = 20;

export const nodeVersion = {
  name: 'Node version',
  isDone: () => Number(process.versions.node.split('.')[0]) >= oldestMajor,
  async run() {
    throw new StepError(
      `This is Node ${process.versions.node}; Hunch needs Node ${oldestMajor} or newer.`,
      'Install a current Node (https://nodejs.org, or your system’s package manager) and run the command again.',
    );
  },
};
