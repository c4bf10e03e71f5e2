import { defineConfig } from 'vitest/config';

/**
 * Three kinds of tests. `unit` needs nothing but npm packages; `model` the native engine and the starter model;
 * `e2e` the built app and a virtual display. Files run one at a time because the last two share two cores and one
 * model; scripts/test.mjs lets the unit tests run side by side.
 */
export default defineConfig({
  esbuild: { jsx: 'automatic' },
  test: {
    fileParallelism: false,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/unit/**/*.test.{ts,tsx}'], testTimeout: 20_000 },
      },
      {
        extends: true,
        test: { name: 'model', include: ['test/model/**/*.test.ts'], testTimeout: 120_000, hookTimeout: 120_000 },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/helpers/displaySetup.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
