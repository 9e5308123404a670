// One contender of the bench that runs in Node: `node serve.mjs <module> <variant> <task as JSON>`.
//
// The protocol, the same for all contenders: first a line { versions, baseRss } or { absent }, then for each line of input
// one line of output: `run <seconds>` calls until that time is over, once at least -> { seconds a call, calls, peakRss };
// `write <path>` writes the last result as raw float32 -> { note }. Anything that fails -> { error }.

import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const MODULES = {
  lowrank: './lowrank.mjs',
  gemm: './gemm.mjs',
  'ml-matrix': './ml-matrix.mjs',
  'svd-js': './svd-js.mjs',
};

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** Raw float32 numbers, read in place: a copy would count in the peak. */
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

/** The peak of this program, in bytes; resourceUsage() would count what the parent held before exec. */
function peakRss() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  return Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
}

function serve({ run, numbers, note }) {
  let result;
  const commands = {
    run(least) {
      result = undefined;
      let calls = 0;
      let elapsed;
      const begin = performance.now();
      do {
        result = run();
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
  createInterface({ input: process.stdin }).on('line', (line) => {
    const [name, ...rest] = line.split(' ');
    try {
      answer(commands[name](rest.join(' ')));
    } catch (error) {
      answer({ error: error.message });
    }
  });
}

async function main() {
  const [name, variant, json] = process.argv.slice(2);
  let contender;
  try {
    contender = await import(MODULES[name]);
  } catch (error) {
    answer({ absent: error.message.split('\n')[0] });
    return;
  }
  try {
    const task = JSON.parse(json);
    const prepared = contender.prepare(task, readNumbers(task.input, task.numbers), variant);
    answer({ versions: contender.versions(), baseRss: peakRss() });
    serve(prepared);
  } catch (error) {
    answer({ error: error.message });
  }
}

main();
