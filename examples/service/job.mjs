// The process of one job. The server starts it, sends it one task, and hears of its progress. It ends
// when the server asks it to, or has died: what it has finished by then is resumed next time.

import { KINDS } from './kinds.mjs';

const controller = new AbortController();
const tell = (message) => process.connected && process.send(message);
const stop = () => {
  controller.abort();
  // A step that has started may take long; nothing is lost by leaving in the middle of it.
  setTimeout(() => process.exit(1), 5000).unref();
};
process.on('disconnect', stop);
process.on('SIGTERM', stop);
// Ctrl-C reaches the whole group: the server decides what becomes of its jobs.
process.on('SIGINT', () => undefined);

process.once('message', async ({ kind, ...task }) => {
  let told = 0;
  const onProgress = ({ phase, done, total, bytesDone, bytesTotal, remainingSeconds }) => {
    if (Date.now() - told < 200 && done < total) return;
    told = Date.now();
    tell({ progress: { phase, done, total, bytesDone, bytesTotal, remainingSeconds } });
  };
  // The server stops a job that takes more than its share.
  const watch = setInterval(() => tell({ rss: process.memoryUsage.rss() }), 100);
  try {
    const report = await KINDS[kind].run({ ...task, signal: controller.signal, onProgress });
    tell({ report: JSON.parse(JSON.stringify(report)) });
  } catch (error) {
    const { code, message, hint, kind: fault } = error;
    // Whoever stopped it: the server knows whether it did, and else has it resumed.
    if (!controller.signal.aborted) tell({ error: { code: code ?? 'ERR_UNEXPECTED', message, hint, fault } });
  } finally {
    clearInterval(watch);
    if (process.connected) process.disconnect();
  }
});
