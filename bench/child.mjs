// Runs a process that answers every line with a line of JSON.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const TIME_LIMIT_MS = 15 * 60 * 1000;

export class Child {
  #process;
  /** @type {{ resolve: (line: string) => void, reject: (error: Error) => void }[]} */
  #waiting = [];
  #errors = '';
  /** @type {string | undefined} why the process has ended */
  #end;

  /**
   * @param {string[]} command
   * @param {NodeJS.ProcessEnv} env
   */
  constructor([program = '', ...args], env) {
    this.#process = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#waiting.shift()?.resolve(line));
    this.#process.stderr.setEncoding('utf8').on('data', (text) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
    this.#process.stdin.on('error', () => {}); // The process has ended; `close` reports it.
    this.#process.on('error', (/** @type {NodeJS.ErrnoException} */ error) =>
      this.#ended(`cannot be started: ${error.code}`),
    );
    this.#process.on('close', (code, signal) => this.#ended(this.#lastWords() ?? `ended with ${signal ?? code}`));
  }

  /** Returns the first line, which the process sends unasked. */
  hello() {
    return this.#answer();
  }

  /**
   * Sends a line and returns the answer.
   *
   * @param {string} line
   * @throws with the error that the process reports, or if it ends or takes too long
   */
  ask(line) {
    if (this.#end === undefined) this.#process.stdin.write(`${line}\n`);
    return this.#answer();
  }

  /** Ends the process and waits until it is gone. */
  async close() {
    if (this.#end !== undefined) return;
    const gone = new Promise((resolve) => {
      this.#process.once('close', resolve);
    });
    this.#process.kill('SIGKILL');
    await gone;
  }

  async #answer() {
    if (this.#end !== undefined) throw new Error(this.#end);
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    /** @type {Promise<string>} */
    const promise = new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      timer = setTimeout(() => reject(new Error(`no answer in ${TIME_LIMIT_MS / 60_000} minutes`)), TIME_LIMIT_MS);
    });
    const line = await promise.finally(() => clearTimeout(timer));
    const answer = JSON.parse(line);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  /** @param {string} reason */
  #ended(reason) {
    this.#end ??= reason;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(this.#end));
  }

  #lastWords() {
    const lines = this.#errors.trim().split('\n');
    return lines.findLast((line) => /error|killed|memory/i.test(line)) ?? (lines.at(-1) || undefined);
  }
}
