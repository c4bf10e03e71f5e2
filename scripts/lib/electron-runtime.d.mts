export interface ElectronRuntime {
  folder: string;
  executable: string;
  version: string;
  source: 'override' | 'npm' | 'wheel';
}
export const wheelElectronVersion: string;
export const wheelElectronFolder: string;
export const executableName: string;
export function npmElectronVersion(): string;
export function findElectron(): ElectronRuntime | null;
