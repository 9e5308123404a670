// A process that answers every line with a line of JSON.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const TIME_LIMIT_MS = 15 * 60 * 1000;

export class Child {
  #process;
  #waiting = [];
  #errors = '';
  #end;

  constructor([program, ...args], env) {
    this.#process = spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#waiting.shift()?.resolve(line));
    this.#process.stderr.setEncoding('utf8').on('data', (text) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
    this.#process.stdin.on('error', () => {}); // The end of the process, told below.
    this.#process.on('error', (error) => this.#ended(`cannot be started: ${error.code}`));
    this.#process.on('close', (code, signal) => this.#ended(this.#lastWords() ?? `ended with ${signal ?? code}`));
  }

  /** The first line, which nobody asked for. */
  hello() {
    return this.#answer();
  }

  /** @throws Error with what the process says, or when it ends or takes too long. */
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
    let timer;
    const line = await new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      timer = setTimeout(() => reject(new Error(`no answer in ${TIME_LIMIT_MS / 60_000} minutes`)), TIME_LIMIT_MS);
    }).finally(() => clearTimeout(timer));
    const answer = JSON.parse(line);
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  #ended(reason) {
    this.#end ??= reason;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(this.#end));
  }

  #lastWords() {
    const lines = this.#errors.trim().split('\n');
    return lines.findLast((line) => /error|killed|memory/i.test(line)) ?? (lines.at(-1) || undefined);
  }
}
