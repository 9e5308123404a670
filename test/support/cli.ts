import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { runProgram } from '../../lib/cli/program.js';
import { Output, type Terminal } from '../../lib/cli/terminal/terminal.js';

/** The built command line. */
export const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Run {
  /** Null when a signal ended the process. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly cwd?: string;
  /** Added to the environment of the tests; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const NO_FORCED_COLOR = { FORCE_COLOR: '' };
let last: Promise<unknown> = Promise.resolve();

/**
 * Runs the command line in this process, from the sources of lib/. Calls wait for each other,
 * because the working folder, the environment and the arguments belong to the process. To test the
 * process itself (signals, memory, start, two at once), or the ONNX engine, whose worker exists
 * only in dist/, use {@link spawnLowrank}.
 */
export function lowrank(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const run = last.then(() => inProcess(args, options));
  last = run.catch(() => undefined);
  return run;
}

async function inProcess(args: readonly string[], { cwd, env }: RunOptions): Promise<Run> {
  const before = { argv: process.argv, cwd: process.cwd(), env: { ...process.env } };
  const setEnvironment = (variables: Readonly<Record<string, string | undefined>>) => {
    for (const [name, value] of Object.entries(variables)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
  try {
    process.argv = [process.execPath, main, ...args];
    setEnvironment({ ...NO_FORCED_COLOR, ...env });
    if (cwd !== undefined) process.chdir(cwd);
    const { terminal, out, err } = screen();
    const code = await runProgram(args, terminal);
    return { code, signal: null, stdout: out(), stderr: err() };
  } finally {
    process.argv = before.argv;
    for (const name of Object.keys(process.env)) if (!(name in before.env)) delete process.env[name];
    setEnvironment(before.env);
    if (cwd !== undefined) process.chdir(before.cwd);
  }
}

/** Runs the built command line in a new process; calls `onStderr` whenever it writes there. */
export function spawnLowrank(
  args: readonly string[],
  options: RunOptions & {
    /** Another copy of the package's command line. */
    readonly main?: string;
    readonly onStderr?: (soFar: string, kill: (signal: NodeJS.Signals) => void) => void;
  } = {},
): Promise<Run> {
  const script = options.main ?? main;
  if (!existsSync(script)) throw new Error(`${script} is not built: npm run build`);
  const env = { ...process.env, ...NO_FORCED_COLOR, ...options.env };
  const child = spawn(process.execPath, [script, ...args], { cwd: options.cwd, env });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    options.onStderr?.(stderr, (signal) => child.kill(signal));
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** A terminal of so many columns, or with none a pipe, which keeps what is written to it. */
export function screen(columns?: number): { terminal: Terminal; out: () => string; err: () => string } {
  const written = { out: '', err: '' };
  const stream = (name: 'out' | 'err') => {
    const write = (text: string) => {
      written[name] += text;
      return true;
    };
    return new Output({ isTTY: columns !== undefined, columns, write } as unknown as NodeJS.WriteStream);
  };
  return { terminal: { out: stream('out'), err: stream('err') }, out: () => written.out, err: () => written.err };
}

/**
 * The commands of this package in a line of shell, which may join several and send what they print
 * elsewhere.
 */
export function commandsIn(line: string): string[] {
  const parts = line.replace(/ #.*$/, '').split(/ (?:&&|\|) /);
  return parts.filter((part) => part.startsWith('lowrank ')).map((part) => part.replace(/ > \S+$/, ''));
}

/** The words of a command that has no other quotes than single ones. */
export function wordsOf(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|\S+/g)].map(([word, quoted]) => quoted ?? word);
}

/** All commands, with what one types to reach them. */
export function commandsOf(program: Command): { path: string[]; command: Command }[] {
  const visit = (command: Command, path: string[]): { path: string[]; command: Command }[] => [
    { path, command },
    ...command.commands.flatMap((inner) => visit(inner, [...path, inner.name()])),
  ];
  return visit(program, []);
}
