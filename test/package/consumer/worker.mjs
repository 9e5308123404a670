import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import check from './check.cjs';
import * as entries from './entries.mjs';

if (isMainThread) {
  // Two at once, and the main thread beside them.
  const run = () =>
    new Promise((resolve, reject) => {
      /** @type {unknown} */
      let answer;
      new Worker(new URL(import.meta.url))
        .on('message', (message) => {
          answer = message;
        })
        .on('error', reject)
        .on('exit', (code) => (code === 0 && answer ? resolve(answer) : reject(new Error(`exit code ${code}`))));
    });
  const answers = await Promise.all([run(), run(), check(entries)]);
  if (answers.every((answer) => answer === 'checked')) console.log('checked');
} else {
  parentPort?.postMessage(await check(entries));
}
