// A list of checks for the tests that are programs: they run other programs, one after the other,
// and print a line for each check.

import { spawnSync } from 'node:child_process';

/** A check that failed, whose message says all. */
export class Fault extends Error {}

/**
 * @param {unknown} condition
 * @param {string} message
 * @returns {asserts condition}
 */
export function expect(condition, message) {
  if (!condition) throw new Fault(message);
}

/**
 * This process' environment without npm's variables, and without those that select another binary.
 */
function clean() {
  const entries = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|PREBUILDS_ONLY|NODE_PATH|NODE_OPTIONS)/i.test(name),
  );
  return Object.fromEntries(entries);
}

/**
 * Runs a program and returns its output; fails if it ends with another status.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, status?: number, shell?: boolean }} [options]
 */
export function run(program, args, { cwd, env, status = 0, shell = false } = {}) {
  const done = spawnSync(program, args, {
    cwd,
    shell,
    env: { ...clean(), ...env },
    encoding: 'utf8',
    timeout: 240_000,
    maxBuffer: 1 << 26,
  });
  if (done.status === status) return done;
  const end = done.error?.message ?? done.signal ?? `exit code ${done.status}`;
  throw new Fault(`${[program, ...args].join(' ')}: ${end}\n${done.stdout}${done.stderr}`);
}

/** What a test's program prints if all is well. @param {{ stdout: string }} output */
export function checked({ stdout }) {
  expect(stdout.trim() === 'checked', `printed ${JSON.stringify(stdout)}`);
}

let passed = 0;
let failed = 0;
const begin = performance.now();

/**
 * Runs a check, which passes unless it throws, and prints the note that it returns.
 *
 * @param {string} where
 * @param {string} name
 * @param {() => string | void} body
 */
export function test(where, name, body) {
  const start = performance.now();
  /** @type {unknown} */
  let fault;
  let note = '';
  try {
    note = body() ?? '';
  } catch (error) {
    fault = error;
  }
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  if (fault) failed++;
  else passed++;
  console.log(
    `${fault ? 'FAILED' : 'passed'}  ${where.padEnd(16)} ${name.padEnd(44)} ${seconds.padStart(6)} s  ${note}`,
  );
  if (!fault) return;
  const text = fault instanceof Fault || !(fault instanceof Error) ? String(fault) : (fault.stack ?? fault.message);
  console.log(text.replace(/^/gm, '        '));
}

/**
 * Prints the counts of passed and failed checks, and sets the exit code.
 *
 * @param {string} what was tested
 */
export function summarize(what) {
  const seconds = ((performance.now() - begin) / 1000).toFixed(0);
  console.log(`${what}: ${passed} passed, ${failed} failed, in ${seconds} s`);
  if (failed > 0) process.exitCode = 1;
}
