import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { platform, runtime, systemVersion } from '../../addon/host.js';
import { addon, addonPath } from '../../addon/load.js';
import { LowRankError } from '../../errors.js';
import { ENGINES, type EngineName } from '../../evaluate/engines/engine.js';
import { findPeer, importPeer } from '../../evaluate/engines/peers.js';
import { type SelfTest, selfTest } from '../../linalg/self-test.js';
import { formatBytes, formatSeconds } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { jsonOption } from '../options.js';
import { ReportedError } from '../reported-error.js';
import type { Output, Terminal } from '../terminal/terminal.js';

const EXAMPLES = `
Examples:
  lowrank doctor
  lowrank doctor --json

Exits with 1 if something is broken. A missing engine is not an error: only lowrank eval and search use engines.`;

/** The optional packages of each engine. */
const NEEDS: Readonly<Record<EngineName, readonly string[]>> = {
  llama: ['node-llama-cpp'],
  onnx: ['onnxruntime-node', '@huggingface/tokenizers'],
  command: [],
};

interface System {
  /** The version of Node.js; other hosts name the one that they stand in for. */
  readonly node: string;
  /** The program that runs this: Node, Bun, Deno or Electron, with its version. */
  readonly host: string;
  readonly platform: string;
  /** What the binary has to fit, such as `glibc 2.36`, `musl` or `Windows 10.0.22631`. */
  readonly system: string;
  readonly processor: { readonly model: string; readonly cores: number };
  /** Bytes. */
  readonly memory: {
    readonly total: number;
    /** What this process can still allocate, within the limit. */
    readonly available: number;
    /** The limit of the control group (containers, Slurm, systemd); undefined without one. */
    readonly limit: number | undefined;
  };
}

interface Native {
  readonly addon: {
    readonly path: string;
    readonly openblas: string;
    readonly kernel: string;
    /** The vector instructions that lowrank's own kernels use. */
    readonly simd: string;
    readonly threads: number;
    /** The variables of the environment that force kernels, and their values. */
    readonly forced: Readonly<Record<string, string>>;
  };
  readonly selfTest: SelfTest & { readonly seconds: number };
}

interface FoundEngine {
  readonly engine: EngineName;
  /** `broken`: installed but does not load. */
  readonly state: 'ready' | 'not installed' | 'broken';
  readonly packages: readonly { readonly name: string; readonly version?: string; readonly folder?: string }[];
}

interface Problem {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}

/** Lacks the fields of {@link Native} if the native code does not load. */
interface Diagnosis extends System, Partial<Native> {
  readonly engines: readonly FoundEngine[];
  readonly problems: readonly Problem[];
}

/** `lowrank doctor`: checks whether the package works here, and how fast. */
export function defineDoctor(command: Command, terminal: Terminal): void {
  command
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((flags: { json?: boolean }) => runDoctor(flags, terminal));
}

async function runDoctor({ json }: { json?: boolean }, { out, err }: Terminal): Promise<void> {
  const system = examineSystem();
  // Print early: if the native code crashes the process, a bug report needs what was found so far.
  if (!json) printSystem(system, out);
  const problems: Problem[] = [];
  const native = await examineNative(problems);
  if (!json) printNative(native, out);
  const engines: FoundEngine[] = [];
  for (const engine of ENGINES) engines.push(await examineEngine(engine, problems));
  if (!json) printEngines(engines, out);
  const diagnosis: Diagnosis = { ...system, ...native, engines, problems };
  if (json) out.lines([JSON.stringify(diagnosis, null, 2)]);
  if (problems.length === 0) return;
  const { red, dim } = err.colors;
  for (const { message, hint } of problems) {
    err.lines([`${red('error:')} ${printable(message)}`]);
    if (hint !== undefined) err.lines([`${dim('hint:')} ${printable(hint)}`]);
  }
  throw new ReportedError();
}

function examineSystem(): System {
  const total = totalmem();
  const limit = process.constrainedMemory();
  return {
    node: process.versions.node,
    host: runtime(),
    platform,
    system: systemVersion(),
    processor: { model: cpus()[0]?.model.trim() || 'unknown', cores: availableParallelism() },
    memory: {
      total,
      available: process.availableMemory(),
      // Without a limit, systems report 0, nothing, or more than all memory.
      limit: limit > 0 && limit < total ? limit : undefined,
    },
  };
}

/** The variables that choose kernels by name, of OpenBLAS and of lowrank. */
const FORCING = { openblas: 'OPENBLAS_CORETYPE', simd: 'LOWRANK_SIMD' } as const;

function forcedKernels(): Record<string, string> {
  const set = Object.values(FORCING).map((name) => [name, process.env[name]] as const);
  return Object.fromEntries(set.filter((entry): entry is [(typeof entry)[0], string] => Boolean(entry[1])));
}

async function examineNative(problems: Problem[]): Promise<Native | undefined> {
  try {
    const path = addonPath();
    const { openblas, kernel, threads, simd } = addon().info();
    const started = performance.now();
    const tested = await selfTest();
    if (!tested.passed) {
      problems.push({
        code: 'ERR_NATIVE',
        message: `the self-test fails: ${tested.fault}`,
        hint: 'Try OPENBLAS_CORETYPE=Haswell (or another kernel), and report this with the output of lowrank doctor.',
      });
    }
    const seconds = (performance.now() - started) / 1000;
    return {
      addon: { path, openblas, kernel, threads, simd, forced: forcedKernels() },
      selfTest: { ...tested, seconds },
    };
  } catch (error) {
    problems.push(asProblem(error));
    return undefined;
  }
}

async function examineEngine(engine: EngineName, problems: Problem[]): Promise<FoundEngine> {
  const packages: { name: string; version?: string; folder?: string }[] = [];
  let state: FoundEngine['state'] = 'ready';
  for (const name of NEEDS[engine]) {
    let entry: string;
    try {
      entry = findPeer(name);
    } catch {
      packages.push({ name });
      if (state === 'ready') state = 'not installed';
      continue;
    }
    packages.push({ name, ...manifestOf(name, entry) });
    try {
      await importPeer(name);
    } catch (error) {
      state = 'broken';
      problems.push(asProblem(error));
    }
  }
  return { engine, state, packages };
}

/** Finds the folder and version of an installed package, searching upward from its entry point. */
function manifestOf(name: string, entry: string): { version?: string; folder?: string } {
  for (let folder = dirname(fileURLToPath(entry)); folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (!existsSync(manifest)) continue;
    const { name: found, version } = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string; version?: string };
    if (found === name) return { version, folder };
  }
  return {};
}

function asProblem(error: unknown): Problem {
  if (error instanceof LowRankError) return { code: error.code, message: error.message, hint: error.hint };
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'ERR_UNEXPECTED', message, hint: 'Please report this, with the output of lowrank doctor.' };
}

function printSystem({ host, platform, system, processor, memory }: System, output: Output): void {
  const { total, available, limit } = memory;
  const within = limit === undefined ? '' : `, limited to ${formatBytes(limit)} by the control group`;
  output.lines([
    row('host', host),
    row('platform', `${platform}, ${system}`),
    row('processor', `${processor.model}, ${processor.cores} ${processor.cores === 1 ? 'core' : 'cores'}`),
    row('memory', `${formatBytes(total)}, ${formatBytes(available)} available${within}`),
  ]);
}

function printNative(native: Native | undefined, output: Output): void {
  const { green, red } = output.colors;
  if (native === undefined) {
    output.lines([`${row('addon', '')}${red('does not load')}`]);
    return;
  }
  const { path, openblas, kernel, threads, simd, forced } = native.addon;
  const by = (name: string) => (forced[name] === undefined ? '' : `, forced by ${name}=${forced[name]}`);
  const { passed, gigaflops, seconds } = native.selfTest;
  output.lines([
    row('addon', path),
    row('kernels', `${simd}${by(FORCING.simd)}`),
    row(
      'OpenBLAS',
      `${openblas}, kernel ${kernel}${by(FORCING.openblas)}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    ),
    `${row('self-test', '')}${passed ? green('passed') : red('failed')} in ${formatSeconds(seconds)}, matrix product at ${Math.round(gigaflops)} GFLOP/s`,
  ]);
}

function printEngines(engines: readonly FoundEngine[], output: Output): void {
  const { green, red, dim } = output.colors;
  const paint = { ready: green, 'not installed': dim, broken: red };
  for (const { engine, state, packages } of engines) {
    const found = packages.map(({ name, version, folder }) =>
      folder === undefined ? `${name} is missing` : `${name} ${version} in ${folder}`,
    );
    const what = found.length === 0 ? 'needs no package: --command runs a program of your own' : found.join('; ');
    output.lines([`${row(engine, '')}${paint[state](state)}, ${printable(what)}`]);
  }
}

function row(name: string, text: string): string {
  return `${name.padEnd(11)}${printable(text)}`;
}
