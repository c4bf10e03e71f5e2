import type { ErrorBody } from '../contract/errors';

const titles: Partial<Record<ErrorBody['code'], string>> = {
  'database-newer': 'These chats need a newer Hunch',
  'disk-full': 'The disk is full',
};

/** A page of its own, as a data: URL: it needs no file, no script and no preload. */
export function problemUrl(problem: ErrorBody): string {
  return `data:text/html;charset=utf-8,${encodeURIComponent(problemHtml(problem))}`;
}

export function problemHtml({ code, message }: ErrorBody): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'" />
    <title>Hunch</title>
    <style>
      :root { color-scheme: light dark; }
      body { margin: 0; padding: 40px; font: 15px/1.6 system-ui, sans-serif; overflow-wrap: anywhere; }
      h1 { margin: 0 0 16px; font-size: 20px; }
      small { opacity: 0.7; }
    </style>
  </head>
  <body>
    <main role="alert">
      <h1>${escape(titles[code] ?? 'Hunch cannot start')}</h1>
      <p>${escape(message)}</p>
      <p><small>Close this window to end Hunch. (${escape(code)})</small></p>
    </main>
  </body>
</html>
`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
