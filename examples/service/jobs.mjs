// Jobs: a queue with a bound, a process for each running job, and their states on disk.

import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { Refused, writeDocument } from './files.mjs';
import { KINDS } from './kinds.mjs';

/** How often a job may be killed, by the system or by others, before it is given up. */
const MOST_KILLS = 5;
/** Milliseconds until a job is tried again whose output another process still holds. */
const WAIT = 1000;
/** Bytes that the server itself takes, and the fewest in which a job can do anything. */
const [OWN_MEMORY, LEAST_SHARE] = [150e6, 200e6];
const ENDED = new Set(['done', 'failed', 'cancelled']);

/**
 * A job's id is the digest of what it makes: the content of its inputs, its options and the version of
 * lowrank. Asking for the same twice gives the same job and one result.
 */
export class Jobs extends EventEmitter {
  #jobs = new Map();
  /** The ids that wait, the first one next. */
  #queue = [];
  /** The processes of running jobs, by id. */
  #running = new Map();
  #writes = new Map();
  #closing = false;

  /** @param {{ folder: string, models: object, version: string, slots: number, queue: number, memory: number }} options */
  constructor({ folder, models, version, slots, queue, memory }) {
    super();
    this.setMaxListeners(0);
    for (const [name, value] of Object.entries({ slots, queue, memory })) {
      if (!(Number.isInteger(value) && value > 0)) throw new Error(`${name}: expected a whole number above 0`);
    }
    Object.assign(this, { folder, models, version, slots, bound: queue });
    this.share = Math.floor((memory - OWN_MEMORY) / slots);
    if (this.share < LEAST_SHARE) {
      throw new Error(`memory: ${slots} jobs at a time need at least ${OWN_MEMORY + slots * LEAST_SHARE} bytes`);
    }
    this.threads = Math.max(1, Math.floor(availableParallelism() / slots));
  }

  /** Reads the jobs of earlier runs, and continues those that have not ended. */
  async open() {
    await mkdir(join(this.folder, 'jobs'), { recursive: true });
    for (const name of await readdir(join(this.folder, 'jobs'))) {
      // What a crash has left of a write.
      if (!name.endsWith('.json')) await rm(join(this.folder, 'jobs', name));
      else this.#add(JSON.parse(await readFile(join(this.folder, 'jobs', name), 'utf8')));
    }
    const open = [...this.#jobs.values()].filter(({ state }) => !ENDED.has(state));
    // Those that ran come first: the least of them is left to do.
    const rank = ({ state, submitted }) => `${state === 'running' ? 0 : 1} ${submitted}`;
    open.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
    for (const job of open) {
      job.state = 'queued';
      this.#queue.push(job.id);
    }
    this.#next();
  }

  get(id) {
    return this.#jobs.get(id);
  }

  list() {
    return [...this.#jobs.values()].sort((a, b) => (a.submitted < b.submitted ? -1 : 1));
  }

  /** The path of a job's result; whether it exists, it is complete. */
  resultOf({ id, model }) {
    return join(this.folder, 'results', id, basename(model));
  }

  /**
   * Takes a job, or finds the one that makes the same. A failed or cancelled one is tried again.
   *
   * @throws Refused for options or a model that cannot be, and if too many jobs wait.
   */
  async submit({ kind, model, options }) {
    try {
      KINDS[kind].check(options);
    } catch (error) {
      throw new Refused(400, error.code ?? 'ERR_ARGUMENT', error.message, error.hint);
    }
    const { inputs, digests } = await this.#inputsOf(kind, model, options);
    const asked = JSON.stringify([this.version, kind, Object.entries(options).sort(), basename(inputs.model), digests]);
    const id = createHash('sha256').update(asked).digest('hex');
    const known = this.#jobs.get(id);
    if (known !== undefined && !['failed', 'cancelled'].includes(known.state)) {
      await this.#writes.get(id);
      return { job: known, created: false };
    }
    if (this.#queue.length >= this.bound) {
      throw new Refused(503, 'ERR_QUEUE', `${this.#queue.length} jobs wait already`, 'Ask again later.');
    }
    const job = known ?? this.#add({ id, kind, model, options, digests });
    Object.assign(job, { state: 'queued', submitted: new Date().toISOString(), kills: 0 });
    for (const field of ['error', 'progress', 'ended']) delete job[field];
    this.#queue.push(id);
    // The answer promises that the job survives a crash.
    await this.#save(job);
    this.#next();
    return { job, created: true };
  }

  /** Stops a job and removes what it has made so far; one that has ended stays as it is. */
  async cancel(id) {
    const job = this.#jobs.get(id);
    if (ENDED.has(job.state)) return job;
    const child = this.#running.get(id);
    job.cancelled = true;
    if (child === undefined) await this.#end(job, { state: 'cancelled' });
    else {
      child.kill('SIGTERM');
      await new Promise((resolve) => this.#whenEnded(id, resolve));
    }
    return job;
  }

  /** Stops the processes. Their jobs count as running, so that the next start continues them. */
  async close() {
    this.#closing = true;
    const ended = [...this.#running.values()].map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of this.#running.values()) child.kill('SIGTERM');
    await Promise.all(ended);
    await Promise.all(this.#writes.values());
  }

  /** The processes of running jobs, for a health check. */
  get processes() {
    return [...this.#running.values()].flatMap(({ pid }) => pid ?? []);
  }

  #add(job) {
    this.#jobs.set(job.id, job);
    return job;
  }

  async #inputsOf(kind, model, options) {
    const inputs = { model: await this.models.find(model) };
    for (const name of KINDS[kind].files) {
      if (options[name] !== undefined) inputs[name] = await this.models.find(options[name]);
    }
    const digests = {};
    for (const [name, path] of Object.entries(inputs)) digests[name] = await this.models.digest(path);
    return { inputs, digests };
  }

  #next() {
    while (!this.#closing && this.#running.size < this.slots && this.#queue.length > 0) {
      const job = this.#jobs.get(this.#queue.shift());
      // Holds the slot while the inputs are read.
      this.#running.set(job.id, { kill: () => undefined, once: (_, resolve) => this.#whenEnded(job.id, resolve) });
      this.#start(job).catch((error) => this.#end(job, failed(error)));
    }
  }

  async #start(job) {
    const out = this.resultOf(job);
    // Written whole by a run that died before it could say so.
    if (existsSync(out)) return this.#end(job, { state: 'done' });
    const { inputs, digests } = await this.#inputsOf(job.kind, job.model, job.options);
    if (JSON.stringify(digests) !== JSON.stringify(job.digests)) {
      throw new Refused(409, 'ERR_CHANGED', `${job.model}: changed since the job was submitted`);
    }
    if (job.cancelled) return this.#end(job, { state: 'cancelled' });
    if (this.#closing) return this.#leave(job);
    await mkdir(join(this.folder, 'results', job.id), { recursive: true });
    job.state = 'running';
    await this.#save(job);
    this.#tell(job);
    if (this.#closing) return this.#leave(job);
    const child = fork(join(import.meta.dirname, 'job.mjs'), [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#running.set(job.id, child);
    if (job.cancelled) child.kill('SIGTERM');
    this.#follow(job, child);
    const options = { ...job.options };
    for (const name of KINDS[job.kind].files) if (inputs[name] !== undefined) options[name] = inputs[name];
    const { threads, share: maxMemory } = this;
    child.send({ kind: job.kind, source: inputs.model, out, options, threads, maxMemory }, () => undefined);
    return undefined;
  }

  #follow(job, child) {
    let outcome;
    child.on('message', ({ progress, rss, report, error }) => {
      if (progress !== undefined) {
        job.progress = progress;
        this.#tell(job);
      }
      if (rss > this.share) {
        const message = `the job took ${rss} bytes of memory, of ${this.share} that each may take`;
        outcome ??= { state: 'failed', error: { code: 'ERR_MEMORY', message } };
        child.kill('SIGKILL');
      }
      if (report !== undefined) outcome ??= { state: 'done', report };
      if (error !== undefined) outcome ??= { state: 'failed', error };
    });
    child.on('error', () => undefined);
    child.once('exit', (_, signal) => {
      this.#exited(job, outcome, signal).catch((error) => this.#end(job, failed(error)));
    });
  }

  async #exited(job, outcome, signal) {
    if (outcome?.state === 'done' || existsSync(this.resultOf(job))) {
      return this.#end(job, { state: 'done', ...(outcome?.report && { report: outcome.report }) });
    }
    if (job.cancelled) return this.#end(job, { state: 'cancelled' });
    if (this.#closing) return this.#leave(job);
    // The process of an earlier run is about to end.
    if (outcome?.error?.fault === 'InUse') return this.#again(job, WAIT);
    if (outcome !== undefined) return this.#end(job, outcome);
    job.kills++;
    if (job.kills <= MOST_KILLS) return this.#again(job, 0);
    return this.#end(
      job,
      failed({ code: 'ERR_KILLED', message: `killed ${job.kills} times, the last time by ${signal}` }),
    );
  }

  /** Puts a job back to the front of the queue; it resumes what it has done. */
  async #again(job, wait) {
    job.state = 'queued';
    await this.#save(job);
    this.#tell(job);
    setTimeout(() => {
      this.#running.delete(job.id);
      if (job.cancelled) this.#end(job, { state: 'cancelled' });
      else this.#queue.unshift(job.id);
      this.emit(`left ${job.id}`);
      this.#next();
    }, wait);
  }

  /** Leaves a job to the next start of the server. */
  #leave(job) {
    this.#running.delete(job.id);
    this.emit(`left ${job.id}`);
  }

  async #end(job, outcome) {
    this.#queue = this.#queue.filter((id) => id !== job.id);
    if (outcome.state !== 'done') await rm(join(this.folder, 'results', job.id), { recursive: true, force: true });
    Object.assign(job, outcome, { ended: new Date().toISOString() });
    delete job.cancelled;
    await this.#save(job);
    this.#running.delete(job.id);
    this.#tell(job);
    this.emit(`left ${job.id}`);
    this.#next();
  }

  #whenEnded(id, resolve) {
    const look = () => {
      if (this.#running.has(id) && !ENDED.has(this.#jobs.get(id).state)) this.once(`left ${id}`, look);
      else resolve();
    };
    look();
  }

  #tell(job) {
    this.emit(job.id, job);
  }

  /** Writes the state of a job, one write after the other. */
  #save(job) {
    const path = join(this.folder, 'jobs', `${job.id}.json`);
    const write = (this.#writes.get(job.id) ?? Promise.resolve()).then(() => {
      const { progress: _, ...kept } = job;
      return writeDocument(path, kept);
    });
    this.#writes.set(
      job.id,
      write.catch(() => undefined),
    );
    return write;
  }
}

function failed({ code = 'ERR_UNEXPECTED', message, hint }) {
  return { state: 'failed', error: { code, message, hint } };
}
