// Serves one contender of the bench that runs in Node: `node serve.mjs <module> <variant> <task as
// JSON>`.
//
// All contenders follow one protocol. The first line is { versions, baseRss } or { absent }. Then
// each line of input gets one line of output. `run <seconds>` repeats the call until the time is
// over, at least once, and returns { seconds a call, calls, peakRss }. `write <path>` writes the
// last result as raw float32 and returns { note }. Failures return { error }.

import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** @type {Record<string, string>} */
const MODULES = {
  lowrank: './lowrank.mjs',
  values: './values.mjs',
  layer: './layer.mjs',
  gemm: './gemm.mjs',
  'ml-matrix': './ml-matrix.mjs',
  'svd-js': './svd-js.mjs',
};

const answer = (/** @type {object} */ message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/**
 * Reads raw float32 numbers in place: a copy would count in the peak.
 *
 * @param {string} path
 * @param {number} count
 */
function readNumbers(path, count) {
  const numbers = new Float32Array(count);
  const bytes = new Uint8Array(numbers.buffer);
  const file = openSync(path, 'r');
  let done = 0;
  while (done < bytes.length) {
    const got = readSync(file, bytes, done, Math.min(bytes.length - done, 1 << 30), null);
    if (got === 0) throw new Error(`the input ends after ${done} of ${bytes.length} bytes`);
    done += got;
  }
  closeSync(file);
  return numbers;
}

/**
 * Returns the peak of this program in bytes. resourceUsage() would include what the parent held
 * before exec.
 */
function peakRss() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

/** @param {import('../types.js').Prepared} prepared */
function serve({ run, numbers, note }) {
  /** @type {unknown} */
  let result;
  /** @type {Record<string, (argument: string) => object | Promise<object>>} */
  const commands = {
    async run(least) {
      result = undefined;
      let calls = 0;
      let elapsed = 0;
      const begin = performance.now();
      do {
        result = await run();
        calls++;
        elapsed = (performance.now() - begin) / 1000;
      } while (elapsed < Number(least));
      return { seconds: elapsed / calls, calls, peakRss: peakRss() };
    },
    write(path) {
      const { buffer, byteOffset, byteLength } = numbers(result);
      writeFileSync(path, new Uint8Array(buffer, byteOffset, byteLength));
      return { note: note?.(result) };
    },
  };
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const [name = '', ...rest] = line.split(' ');
    try {
      const command = commands[name];
      if (command === undefined) throw new Error(`unknown command ${name}`);
      answer(await command(rest.join(' ')));
    } catch (error) {
      answer({ error: /** @type {Error} */ (error).message });
    }
  });
}

async function main() {
  const [name = '', variant, json = ''] = process.argv.slice(2);
  let contender;
  try {
    contender = await import(MODULES[name] ?? name);
  } catch (error) {
    answer({ absent: /** @type {Error} */ (error).message.split('\n')[0] });
    return;
  }
  try {
    const task = JSON.parse(json);
    const prepared = contender.prepare(task, readNumbers(task.input, task.numbers), variant);
    answer({ versions: contender.versions(), baseRss: peakRss() });
    serve(prepared);
  } catch (error) {
    answer({ error: /** @type {Error} */ (error).message });
  }
}

main();
