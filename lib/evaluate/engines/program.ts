import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';

/** How long a program may take to clean up after SIGTERM before it is killed. */
const GRACE_MS = 2000;
/** How often a group is asked whether anything in it still runs. */
const POLL_MS = 20;
/** How long to wait for a killed program to be reported dead: one stuck in the kernel may never be. */
const BURIAL_MS = 1000;

const isWindows = process.platform === 'win32';
/** Signals that end this process unless somebody listens, and that a terminal or a scheduler sends. */
const FATAL: readonly NodeJS.Signals[] = isWindows ? ['SIGINT', 'SIGBREAK', 'SIGHUP'] : ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** How a program ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it could not be started. */
  readonly failure?: Error;
}

/**
 * A program with everything it starts, as one process group that can be ended as a whole.
 *
 * The group does not outlive this process: it is ended when this process exits, or dies of a signal that can be caught.
 * A program that leaves the group on purpose (a daemon) is out of reach, but cannot delay anything here, since its hold on
 * the pipes is not waited for.
 */
export class Program {
  /** Resolves when the program has ended and nothing holds its output open any more, or when it was stopped. */
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  #settle!: (ending: Ending) => void;
  #exited = false;
  #stopping: Promise<void> | undefined;

  /** @throws the operating system's error, where it refuses at once */
  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    // A group of its own, or a signal would reach this process too. On Windows that would open a console.
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
   * Ends the whole group: SIGTERM, after a grace period SIGKILL. Resolves when nothing of it runs any more. Does nothing
   * when the program has ended by itself and closed its output.
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
    // Whoever left the group may hold the other ends for ever.
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

  /** Whether anything in the group runs. */
  get #lives(): boolean {
    if (!this.#exited) return true;
    return !isWindows && this.#signal(0);
  }

  /** Sends a signal to the group, and says whether there was anything to send it to. */
  #signal(signal: NodeJS.Signals | 0): boolean {
    const { pid } = this.#child;
    if (pid === undefined) return false;
    if (isWindows) {
      // There are no groups, but parents are known. `taskkill` without /F asks windows, which a console program lacks.
      spawnSync('taskkill', ['/PID', String(pid), '/T', '/F'], { stdio: 'ignore', windowsHide: true });
      return true;
    }
    try {
      return process.kill(-pid, signal);
    } catch (cause) {
      // EPERM: something is there that took on another user's rights.
      return (cause as NodeJS.ErrnoException).code === 'EPERM';
    }
  }
}

/** Programs that run. */
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

/** Listening for a signal keeps it from ending the process: unless others listen too, that is made up for. */
function onFatal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  killAll();
  for (const name of FATAL) process.off(name, onFatal);
  if (isWindows) process.exit(1);
  process.kill(process.pid, signal);
}
