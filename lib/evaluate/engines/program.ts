import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';

/** How long a program may take to clean up after SIGTERM before it is killed. */
const GRACE_MS = 2000;
/** How often to check whether anything in a group is still running. */
const POLL_MS = 20;
/**
 * How long to wait until a killed program is reported dead: one stuck in the kernel may never be.
 */
const BURIAL_MS = 1000;

const isWindows = process.platform === 'win32';
/** Signals from a terminal or scheduler that end this process unless somebody listens. */
const FATAL: readonly NodeJS.Signals[] = isWindows ? ['SIGINT', 'SIGBREAK', 'SIGHUP'] : ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** How a program ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it could not be started. */
  readonly failure?: Error;
}

/**
 * A program with everything it starts, as one process group that can be stopped as a whole.
 *
 * The group does not outlive this process: it is stopped when this process exits, or dies of a
 * signal that can be caught. A program that leaves the group on purpose (a daemon) cannot be
 * stopped, but cannot delay anything here either, since nothing waits for it to close the pipes.
 */
export class Program {
  /**
   * Resolves when the program has ended and nothing holds its output open any more, or when it was
   * stopped.
   */
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  #settle!: (ending: Ending) => void;
  #exited = false;
  #stopping: Promise<void> | undefined;

  /** @throws the operating system's error, if it fails at once */
  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    // Give it its own group, or a signal would also reach this process. On Windows that would open
    // a console.
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env, detached: !isWindows });
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#child.once('exit', () => {
      this.#exited = true;
    });
    this.#child.once('close', (code, signal) => this.#end({ code, signal }));
    this.#child.once('error', (failure) => {
      this.#exited = true;
      this.#end({ code: null, signal: null, failure });
    });
    watch(this);
  }

  get stdout(): Readable {
    return this.#child.stdout;
  }

  get stderr(): Readable {
    return this.#child.stderr;
  }

  /**
   * Stops the whole group: SIGTERM, and SIGKILL after a grace period. Resolves when nothing of it
   * is running any more. Does nothing if the program has ended by itself and closed its output.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Kills the whole group without waiting for anything. */
  kill(): void {
    this.#signal('SIGKILL');
  }

  async #stop(): Promise<void> {
    if (!watched.has(this)) return;
    this.#signal('SIGTERM');
    await this.#until(() => !this.#lives, GRACE_MS);
    if (this.#lives) {
      this.#signal('SIGKILL');
      await this.#until(() => this.#exited, BURIAL_MS);
    }
    // A process that has left the group may hold the other ends open forever.
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
    this.#end({ code: this.#child.exitCode, signal: this.#child.signalCode });
  }

  #end(ending: Ending): void {
    unwatch(this);
    this.#settle(ending);
  }

  async #until(condition: () => boolean, milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds;
    while (!condition() && performance.now() < end) await pause(POLL_MS);
  }

  /** Whether anything in the group is running. */
  get #lives(): boolean {
    if (!this.#exited) return true;
    return !isWindows && this.#signal(0);
  }

  /** Sends a signal to the group; returns whether anything could receive it. */
  #signal(signal: NodeJS.Signals | 0): boolean {
    const { pid } = this.#child;
    if (pid === undefined) return false;
    if (isWindows) {
      // Windows has no groups, but knows parents. `taskkill` without /F asks windows, which a
      // console program lacks.
      spawnSync('taskkill', ['/PID', String(pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true });
      return true;
    }
    try {
      return process.kill(-pid, signal);
    } catch (cause) {
      // EPERM: the process exists, but has changed to another user.
      return (cause as NodeJS.ErrnoException).code === 'EPERM';
    }
  }
}

/** The running programs. */
const watched = new Set<Program>();

function watch(program: Program): void {
  if (watched.size === 0) {
    process.on('exit', killAll);
    for (const signal of FATAL) process.on(signal, onFatal);
  }
  watched.add(program);
}

function unwatch(program: Program): void {
  if (!watched.delete(program) || watched.size > 0) return;
  process.off('exit', killAll);
  for (const signal of FATAL) process.off(signal, onFatal);
}

function killAll(): void {
  for (const program of watched) program.kill();
}

/**
 * Listening for a signal prevents it from ending the process. Unless others listen too, end it
 * here.
 */
function onFatal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  killAll();
  for (const name of FATAL) process.off(name, onFatal);
  if (isWindows) process.exit(1);
  process.kill(process.pid, signal);
}
