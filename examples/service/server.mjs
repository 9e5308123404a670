// A server that edits and compresses the models of a folder for others. See README.md.

import { mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { createApp } from './app.mjs';
import { Models } from './files.mjs';
import { Jobs } from './jobs.mjs';

const {
  MODELS,
  DATA = 'data',
  PORT = '8080',
  HOST = '127.0.0.1',
  JOBS = '2',
  QUEUE = '100',
  MEMORY = '4e9',
} = process.env;
if (MODELS === undefined) {
  console.error('missing MODELS: the folder of models that may be worked on');
  process.exit(2);
}
const folder = resolve(DATA);
await mkdir(folder, { recursive: true });
const { version } = createRequire(import.meta.url)('lowrank/package.json');
const jobs = new Jobs({
  folder,
  models: new Models(resolve(MODELS)),
  version,
  slots: Number(JOBS),
  queue: Number(QUEUE),
  memory: Number(MEMORY),
});
await jobs.open();
const app = createApp(jobs, { logger: process.env.LOG === '1' });

let stopping = false;
async function stop() {
  if (stopping) return;
  stopping = true;
  await Promise.all([jobs.close(), app.close()]);
  process.exit(0);
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
console.log(`listening on ${await app.listen({ port: Number(PORT), host: HOST })}`);
