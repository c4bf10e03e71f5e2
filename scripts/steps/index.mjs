import { bundles } from './bundles.mjs';
import { cudaCompiler } from './cuda.mjs';
import { dependencies } from './dependencies.mjs';
import { electronRuntime } from './electron-runtime.mjs';
import { native } from './native.mjs';
import { nodeVersion } from './node-version.mjs';
import { renderer } from './renderer.mjs';
import { stockModel } from './stock-model.mjs';
import { systemPackages } from './system-packages.mjs';

/** What the `hunch` command needs: no window, no model (it says itself which one is missing). */
export const commandLine = () => [nodeVersion, systemPackages(), dependencies, cudaCompiler, native, bundles];

/** What a chat in the terminal needs. */
export const terminalChat = () => commandLine();

export const buildSteps = () => [...commandLine(), renderer];

/** @param {{window?: boolean, virtualDisplay?: boolean}} need */
export const everything = (need) => [
  nodeVersion,
  systemPackages(need),
  dependencies,
  cudaCompiler,
  native,
  bundles,
  renderer,
  electronRuntime,
];

/** The tests also run stock SmolLM2, which is not part of Hunch. */
export const forTests = (need) => [...everything(need), stockModel];
