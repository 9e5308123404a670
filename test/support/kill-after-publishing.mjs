// Preloaded into a job (node --import): kills the process before its n-th step after its output has
// appeared at KILL_OUT. The steps are the calls that change a folder.
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

let left = Number(process.env.KILL_BEFORE_STEP);
let published = false;
/** @type {Record<string, (...args: unknown[]) => Promise<unknown>>} */
const calls = Object(fs);
for (const name of ['link', 'rename', 'rm', 'rmdir', 'unlink']) {
  const real = calls[name];
  if (real === undefined) throw new Error(`fs.${name} is missing`);
  calls[name] = async (...args) => {
    if (published && left-- === 0) {
      process.kill(process.pid, 'SIGKILL');
      await new Promise(() => {});
    }
    const result = await real(...args);
    if (args[1] === process.env.KILL_OUT && (name === 'link' || name === 'rename')) published = true;
    return result;
  };
}
syncBuiltinESMExports();
