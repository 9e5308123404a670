import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import type { Command } from 'commander';
import { addon, addonPath } from '../addon/load.js';
import { LowRankError } from '../errors.js';
import { type SelfTest, selfTest } from '../linalg/self-test.js';
import { formatBytes } from './format.js';
import { printable } from './printable.js';
import type { Output, Terminal } from './terminal.js';

interface Diagnosis {
  readonly node: string;
  readonly platform: string;
  /** `glibc 2.36`, `musl`; undefined elsewhere than on Linux. */
  readonly libc: string | undefined;
  readonly processor: { readonly model: string; readonly cores: number };
  readonly memory: { readonly total: number; readonly free: number };
  readonly addon: {
    readonly path: string;
    readonly openblas: string;
    readonly kernel: string;
    readonly threads: number;
  };
  readonly selfTest: SelfTest;
}

/** `lowrank doctor`: whether the package works here, and how fast. */
export function addDoctorCommand(program: Command, terminal: Terminal): void {
  program
    .command('doctor')
    .description('say whether the native code works here, and how fast it is')
    .option('--json', 'print one JSON document on standard output')
    .action((flags: { json?: boolean }) => runDoctor(flags, terminal));
}

async function runDoctor({ json }: { json?: boolean }, terminal: Terminal): Promise<void> {
  const system = examineSystem();
  // Where the native code does not load, what was found so far is what a report of the fault needs.
  if (!json) printSystem(system, terminal.out);
  const diagnosis: Diagnosis = {
    ...system,
    addon: { path: addonPath(), ...addon().info() },
    selfTest: await selfTest(),
  };
  const { fault, passed } = diagnosis.selfTest;
  if (!passed) {
    throw new LowRankError('ERR_NATIVE', `the self-test fails: ${fault}`, {
      hint: 'Please report it, with the output of lowrank doctor.',
    });
  }
  if (json) terminal.out.lines([JSON.stringify(diagnosis, null, 2)]);
  else printNative(diagnosis, terminal.out);
}

function examineSystem(): Omit<Diagnosis, 'addon' | 'selfTest'> {
  return {
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    libc: libc(),
    processor: { model: cpus()[0]?.model ?? 'unknown', cores: availableParallelism() },
    memory: { total: totalmem(), free: freemem() },
  };
}

function libc(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined ? 'musl' : `glibc ${header.glibcVersionRuntime}`;
}

function printSystem({ node, platform, libc, processor, memory }: ReturnType<typeof examineSystem>, output: Output) {
  output.lines([
    `Node.js    ${node}`,
    `platform   ${platform}${libc === undefined ? '' : `, ${libc}`}`,
    `processor  ${printable(processor.model.trim())}, ${processor.cores} cores`,
    `memory     ${formatBytes(memory.total)}, ${formatBytes(memory.free)} free`,
  ]);
}

function printNative({ addon, selfTest }: Diagnosis, output: Output): void {
  const { green } = output.colors;
  output.lines([
    `addon      ${printable(addon.path)}`,
    `OpenBLAS   ${addon.openblas}, kernel ${addon.kernel}, ${addon.threads} threads`,
    `self-test  ${green('passed')}, matrix product at ${Math.round(selfTest.gigaflops)} GFLOP/s`,
  ]);
}
