import js from '@eslint/js';
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

/*
 * Besides the usual rules: the boundaries of the house. In a flat config the last matching block replaces a rule's
 * options, so each zone below is given its complete list; test/unit/lint-rules.test.ts proves that each one bites.
 */

const restrictImports = (...patterns) => ({ 'no-restricted-imports': ['error', { patterns }] });
const restrictSyntax = (...entries) => ({ 'no-restricted-syntax': ['error', ...entries] });

// ── imports ──
const noElectron = {
  regex: '^electron($|/)',
  message:
    'Only electron/main.ts, preload.ts, ipc/, engine/host.ts and window code import electron; the rest is plain Node.',
};
const noRenderer = { regex: '(^|/)renderer(/|$)', message: 'Code in electron/ does not import the renderer.' };
const onlyContract = {
  regex: '(^|/)electron($|/(?!contract(/|$)))',
  message: 'The renderer imports nothing of electron/ but electron/contract.',
};
const noNode = {
  regex: '^(node:|(fs|path|os|child_process|crypto|http|https|net|module|worker_threads|electron)($|/))',
  message: 'The renderer is a web page: it has neither Node nor Electron.',
};
const contractOnlyZod = {
  regex: '^(?!zod$|\\./[^/]+$)',
  message: 'electron/contract imports nothing but zod and itself.',
};

// ── syntax ──
const stringLoads = (pattern) =>
  `:matches(ImportExpression > Literal.source[value=${pattern}], CallExpression[callee.name='require'] > Literal[value=${pattern}])`;
const noLoadedElectron = { selector: stringLoads('/^electron($|\\u002F)/'), message: noElectron.message };
const noIpcMain = {
  selector: ":matches(Identifier[name='ipcMain'], Literal[value='ipcMain'])",
  message: 'Raw ipcMain belongs to electron/ipc/router.ts, which checks the sender and the message.',
};
const noIpcRenderer = {
  selector: ":matches(Identifier[name='ipcRenderer'], Literal[value='ipcRenderer'])",
  message: 'Raw ipcRenderer belongs to electron/preload.ts, which exposes one function per verb.',
};
const noWindowApi = {
  selector:
    "MemberExpression[object.name=/^(window|globalThis|self)$/]:matches([property.name='api'], [property.value='api'])",
  message: 'Only renderer/api.ts touches window.api.',
};
const noDestructuredApi = {
  selector: "VariableDeclarator[init.name=/^(window|globalThis|self)$/] > ObjectPattern > Property[key.name='api']",
  message: noWindowApi.message,
};
const noRandom = {
  selector:
    "MemberExpression:matches([object.name='Math']:matches([property.name='random'], [property.value='random']), [property.name='getRandomValues'], [property.value='getRandomValues'])",
  message: 'What the window draws comes from data; for ids use crypto.randomUUID().',
};

const mayImportElectron = [
  'electron/main.ts',
  'electron/preload.ts',
  'electron/menu.ts',
  'electron/ipc/**/*.ts',
  'electron/engine/host.ts',
  'electron/window.ts',
  'electron/window/**/*.ts',
];

const nodeGlobals = Object.fromEntries(
  [
    'AbortController',
    'AbortSignal',
    'Buffer',
    'URL',
    'clearInterval',
    'clearTimeout',
    'console',
    'performance',
    'process',
    'setInterval',
    'setTimeout',
  ].map((name) => [name, 'readonly']),
);

export default tseslint.config(
  { ignores: ['node_modules/', 'dist/', 'build/', 'release/', '.cache/', 'test-results/', 'bench/**/*.py'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      '@typescript-eslint/no-empty-object-type': ['error', { allowInterfaces: 'with-single-extends' }],
      'no-control-regex': 'off', // file names and titles are cleaned of control characters
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
    },
  },
  { files: ['scripts/**/*.mjs', 'bench/**/*.mjs', '*.mjs'], languageOptions: { globals: nodeGlobals } },
  {
    files: ['**/*.cjs'],
    languageOptions: { sourceType: 'commonjs', globals: { ...nodeGlobals, require: 'readonly', module: 'writable' } },
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },

  // electron/: plain Node unless listed
  {
    files: ['electron/**/*.ts'],
    rules: {
      ...restrictImports(noElectron, noRenderer),
      ...restrictSyntax(noLoadedElectron, noIpcMain, noIpcRenderer),
    },
  },
  {
    files: mayImportElectron,
    rules: { ...restrictImports(noRenderer), ...restrictSyntax(noIpcMain, noIpcRenderer) },
  },
  { files: ['electron/ipc/router.ts'], rules: restrictSyntax(noIpcRenderer) },
  { files: ['electron/preload.ts'], rules: restrictSyntax(noIpcMain) },
  { files: ['electron/contract/**/*.ts'], rules: restrictImports(contractOnlyZod) },

  // renderer/: a web page
  {
    files: ['renderer/**/*.{ts,tsx}'],
    plugins: { 'react-hooks': reactHooks },
    rules: {
      ...reactHooks.configs.recommended.rules,
      ...restrictImports(onlyContract, noNode),
      ...restrictSyntax(noIpcMain, noIpcRenderer, noWindowApi, noDestructuredApi, noRandom),
    },
  },
  { files: ['renderer/api.ts'], rules: restrictSyntax(noIpcMain, noIpcRenderer, noRandom) },
);
