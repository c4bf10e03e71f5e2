// Stands in for Electron's default app, which the unpacked runtime lacks: `electron [switches] [-r FILE] FOLDER`.
'use strict';
const { app } = require('electron');
const { readFileSync } = require('node:fs');
const Module = require('node:module');
const path = require('node:path');

const preloads = [];
let folder = null;
const args = process.argv.slice(1);
for (let i = 0; i < args.length; i++) {
  if (args[i] === '-r' || args[i] === '--require') preloads.push(path.resolve(args[++i]));
  else if (!args[i].startsWith('-') && folder === null) folder = path.resolve(args[i]);
}

if (folder === null) {
  console.error('electron: name the folder of an application.');
  process.exit(1);
}

process.defaultApp = true;
for (const file of preloads) Module._load(file, null, false);

const description = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
if (description.version) app.setVersion(description.version);
if (description.productName || description.name) app.setName(description.productName || description.name);
app.setAppPath(folder);
Module._load(path.join(folder, description.main || 'index.js'), Module, true);
