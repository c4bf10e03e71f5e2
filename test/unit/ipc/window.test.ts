import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { contentSecurityPolicy, contentType, resolveAsset } from '../../../electron/window/assets';
import { problemHtml } from '../../../electron/window/problemPage';
import { placeWindow, readWindowState, saveWindowState } from '../../../electron/window/state';

const folder = mkdtempSync(path.join(tmpdir(), 'hunch-window-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the page’s own scheme', () => {
  const root = path.resolve('/somewhere/dist/renderer');

  it('serves files of its folder', () => {
    expect(resolveAsset(root, 'app://hunch/')).toBe(path.join(root, 'index.html'));
    expect(resolveAsset(root, 'app://hunch/assets/a%20b.js?v=1#x')).toBe(path.join(root, 'assets', 'a b.js'));
  });

  it.each([
    'app://hunch/%2e%2e/%2e%2e/secret',
    'app://hunch/..%2f..%2fsecret',
    'app://hunch/assets/..%2F..%2F..%2Fsecret',
    'app://hunch/..%5c..%5csecret',
    'app://hunch/%00',
    'app://hunch/%ZZ',
    'app://hunch/..%2frenderer-other/x.js',
    'app://other/index.html',
    'file:///etc/passwd',
    'https://hunch/index.html',
    '',
  ])('never leaves its folder for %s', (url) => {
    // The URL parser resolves dots that it sees; what remains hidden from it is refused.
    const file = resolveAsset(root, url);
    expect(file === null || file.startsWith(root + path.sep)).toBe(true);
  });

  it('refuses what would lead out of it, and foreign addresses', () => {
    for (const url of [
      'app://hunch/..%2f..%2fsecret',
      'app://hunch/a/..%2F..%2Fsecret',
      'app://hunch/..%5csecret',
      'app://hunch/%00',
      'app://other/x',
    ]) {
      expect(resolveAsset(root, url), url).toBeNull();
    }
  });

  it('gives scripts and styles the type that modules need', () => {
    expect(contentType('a/b.js')).toMatch(/^text\/javascript/);
    expect(contentType('b.CSS')).toMatch(/^text\/css/);
    expect(contentType('unknown.xyz')).toBe('application/octet-stream');
  });

  it('allows no network, no inline script and no eval', () => {
    expect(contentSecurityPolicy).toContain("default-src 'none'");
    expect(contentSecurityPolicy).toContain("connect-src 'none'");
    expect(contentSecurityPolicy).toContain("script-src 'self';");
    expect(contentSecurityPolicy).not.toMatch(/unsafe|https?:|\*/);
  });
});

describe('the window’s place', () => {
  const screen = { x: 0, y: 0, width: 1920, height: 1080 };
  const state = { x: 100, y: 50, width: 900, height: 700, maximized: false };

  it('is kept', () => {
    const file = path.join(folder, 'window.json');
    saveWindowState(file, state);
    expect(readWindowState(file)).toEqual(state);
    expect(placeWindow(state, [screen])).toEqual(state);
  });

  it('falls back when there is none, or none that fits', () => {
    expect(readWindowState(path.join(folder, 'absent.json'))).toBeNull();
    for (const content of ['', '{}', '{"x":"left"}', 'null', '{"x":0,"y":0,"width":-5,"height":1,"maximized":false}']) {
      const file = path.join(folder, 'broken.json');
      writeFileSync(file, content);
      expect(readWindowState(file), content).toBeNull();
    }
    expect(placeWindow(null, [screen])).toEqual({ width: 1180, height: 800, maximized: false });
  });

  it('is brought back when its screen is gone or smaller', () => {
    expect(placeWindow({ ...state, x: 2500, maximized: true }, [screen])).toEqual({
      width: 1180,
      height: 800,
      maximized: true,
    });
    expect(placeWindow({ ...state, x: 1800, y: 1000 }, [screen])).toMatchObject({ x: 1020, y: 380 });
    expect(placeWindow({ ...state, width: 5000, height: 4000, x: -100, y: -10 }, [screen])).toMatchObject({
      x: 0,
      y: 0,
      width: 1920,
      height: 1080,
    });
    expect(placeWindow({ ...state, width: 110, height: 60 }, [screen])).toMatchObject({ width: 480, height: 400 });
    expect(placeWindow({ ...state, x: -1820 }, [screen, { x: -1920, y: 0, width: 1920, height: 1080 }])).toMatchObject({
      x: -1820,
    });
  });

  it('is no reason to fail', () => {
    const file = path.join(folder, 'file');
    writeFileSync(file, '');
    expect(() => saveWindowState(path.join(file, 'window.json'), state)).not.toThrow();
  });
});

describe('the problem page', () => {
  it('shows the sentence as text, whatever is in it, and runs no script', () => {
    const html = problemHtml({ code: 'database-newer', message: 'In <img src=x onerror="alert(1)"> & \'more\'' });
    expect(html).not.toContain('<img');
    expect(html).toContain('In &#60;img src=x onerror=&#34;alert(1)&#34;&#62; &#38; &#39;more&#39;');
    expect(html).toContain("default-src 'none'");
    expect(html).not.toContain('<script');
  });
});
