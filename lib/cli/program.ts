import { Command, CommanderError } from 'commander';
import { LowRankError } from '../errors.js';
import { printable } from '../text/printable.js';
import { mostSimilar } from '../text/similar.js';
import { packageVersion } from '../version.js';
import { Interrupted } from './interrupt.js';
import { addCommands, type LazyCommand } from './lazy.js';
import { ReportedError } from './reported-error.js';
import { HELP } from './terminal/help.js';
import type { Terminal } from './terminal/terminal.js';

/** Exit codes of the process. */
const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;

const EXAMPLES = `
Examples:
  lowrank inspect my-model
  lowrank laser my-model -o my-model-laser --at 26:fc_in:0.01
  lowrank eval my-model.gguf --dataset questions.jsonl
  lowrank search my-model.gguf --dataset questions.jsonl -o found
  lowrank lora extract base tuned -o my-adapter --rank 16

Run lowrank <command> --help for options and examples. NO_COLOR and FORCE_COLOR are honoured.
Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted.`;

const COMMANDS: readonly LazyCommand[] = [
  {
    term: 'laser [options] <checkpoint>',
    description: 'replace weight matrices of a checkpoint with low-rank approximations',
    load: async () => (await import('./commands/laser.js')).defineLaser,
  },
  {
    term: 'plan [options] <checkpoint>',
    description: 'plan a job for many machines; continue with run and merge',
    load: async () => (await import('./commands/shards/plan.js')).definePlan,
  },
  {
    term: 'run [options] <plan>',
    description: 'run one shard of a plan',
    load: async () => (await import('./commands/shards/run.js')).defineRun,
  },
  {
    term: 'merge [options] <plan>',
    description: 'verify the results of all shards of a plan, and write the edited checkpoint',
    load: async () => (await import('./commands/shards/merge.js')).defineMerge,
  },
  {
    term: 'calibrate [options] <model>',
    description: 'run a model and write the moments of the inputs of its layers, for compress',
    load: async () => (await import('./commands/calibrate.js')).defineCalibrate,
  },
  {
    term: 'compress [options] <model>',
    description: 'write a smaller model: few bits a weight and low-rank factors, within one budget',
    load: async () => (await import('./commands/compress.js')).defineCompress,
  },
  {
    term: 'expand [options] <model>',
    description: 'multiply the factors of a compressed checkpoint out again, for other programs',
    load: async () => (await import('./commands/expand.js')).defineExpand,
  },
  {
    term: 'inspect [options] <checkpoint>',
    description: 'list the layers, types and tensors of a checkpoint',
    load: async () => (await import('./commands/inspect.js')).defineInspect,
  },
  {
    term: 'eval [options] <checkpoint>',
    description: 'evaluate a checkpoint on a question set',
    load: async () => (await import('./commands/eval.js')).defineEval,
  },
  {
    term: 'compare [options] <original> <candidates...>',
    description: 'compare models with their original: outputs, answers, size and speed',
    load: async () => (await import('./commands/compare.js')).defineCompare,
  },
  {
    term: 'search [options] <checkpoint>',
    description: 'find the edit with which a model answers best, and write that model',
    load: async () => (await import('./commands/search.js')).defineSearch,
  },
  {
    term: 'report [options] <search>',
    description: 'render a search, finished or not, an edit or a comparison as one HTML page',
    load: async () => (await import('./commands/report.js')).defineReport,
  },
  {
    term: 'lora',
    description: 'inspect, extract, resize and merge LoRA adapters (PEFT files)',
    load: async () => (await import('./commands/lora/lora.js')).defineLora,
  },
  {
    term: 'doctor [options]',
    description: 'check that the native code works here, measure its speed and list the engines found',
    load: async () => (await import('./commands/doctor.js')).defineDoctor,
  },
  {
    term: 'completion <shell>',
    description: 'print the completion script for a shell',
    load: async () => (await import('./completion/completion.js')).defineCompletion,
  },
];

/**
 * Creates the program.
 *
 * @param wanted the names of the command to load, such as `['lora', 'merge']`; others are only
 *   listed. Default: all.
 * @internal
 */
export async function createProgram(terminal: Terminal, wanted?: readonly string[]): Promise<Command> {
  const program = new Command('lowrank')
    .description('Low-rank approximation of model weights: LASER on real checkpoints.')
    .version(packageVersion())
    .exitOverride()
    .configureHelp(HELP)
    .configureOutput({
      writeOut: (text) => terminal.out.write(text),
      writeErr: (text) => terminal.err.write(text),
      // Reported by report(), like every other failure.
      outputError: () => undefined,
      getOutHelpWidth: () => terminal.out.columns ?? 100,
      getErrHelpWidth: () => terminal.err.columns ?? 100,
      getOutHasColors: () => terminal.out.colors.isColorSupported,
      getErrHasColors: () => terminal.err.colors.isColorSupported,
    })
    .addHelpText('after', EXAMPLES);
  await addCommands(program, COMMANDS, terminal, { wanted, whole: () => createProgram(terminal) });
  return program;
}

/**
 * Runs the command line.
 *
 * @param args without the paths of Node and of the program
 * @returns one of {@link EXIT}
 */
export async function runProgram(args: readonly string[], terminal: Terminal): Promise<number> {
  // Options before the name of a command take no values, and `help` is followed by the name.
  const names = args.filter((arg) => !arg.startsWith('-') && arg !== 'help');
  const program = await createProgram(terminal, names);
  try {
    await program.parseAsync(args, { from: 'user' });
    return EXIT.done;
  } catch (error) {
    return report(error, args, program, terminal);
  }
}

/** Reports an error and returns the exit code. */
function report(error: unknown, args: readonly string[], program: Command, terminal: Terminal): number {
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT.done;
  // The help that was printed for a missing command is the message.
  if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage;
  if (error instanceof ReportedError) return EXIT.failed;

  const { message, hint, code, exit } = understand(error, helpFor(args, program));
  if (args.includes('--json')) terminal.out.lines([JSON.stringify({ error: { code, message, hint } }, null, 2)]);
  const { red, dim } = terminal.err.colors;
  const [first, ...more] = linesOf(error, message).map(printable);
  terminal.err.lines([`${red('error:')} ${first}`, ...more]);
  if (hint !== undefined) terminal.err.lines([`${dim('hint:')} ${printable(hint)}`]);
  if (process.env.LOWRANK_DEBUG && error instanceof Error) terminal.err.lines([describeStack(error)]);
  return exit;
}

/**
 * Splits a message into its intended lines. A line break inside a file name or a typed argument is
 * printed as an escape instead, so that it cannot imitate our output.
 */
function linesOf(error: unknown, message: string): string[] {
  // commander prints its suggestion on a line of its own, after what the user typed.
  const suggestion = error instanceof CommanderError ? /\n(?=\(Did you mean [^\n]+\?\)$)/.exec(message) : null;
  if (suggestion !== null) return [message.slice(0, suggestion.index), message.slice(suggestion.index + 1)];
  // Lines printed by an evaluation program are indented to set them apart from ours.
  const [first = '', ...more] = isEngineFault(error) ? message.split(/\r?\n/) : [message];
  return [first, ...more.map((line) => `  ${line}`)];
}

function isEngineFault(error: unknown): boolean {
  return error instanceof LowRankError && error.code === 'ERR_ENGINE';
}

interface Failure {
  readonly message: string;
  readonly hint: string | undefined;
  readonly code: string;
  readonly exit: number;
}

function helpFor(args: readonly string[], program: Command): string {
  const names: string[] = [];
  let command: Command | undefined = program;
  for (const name of args) {
    command = command.commands.find((candidate) => candidate.name() === name);
    if (command === undefined) break;
    names.push(name);
  }
  return `See: ${['lowrank', ...names, '--help'].join(' ')}`;
}

function understand(error: unknown, help: string): Failure {
  if (error instanceof Interrupted) {
    return {
      message: error.message,
      hint: error.hint,
      code: 'ERR_INTERRUPTED',
      exit: EXIT.interrupted,
    };
  }
  if (error instanceof CommanderError) {
    const message = withSuggestion(error.message.replace(/^error: /, ''));
    return { message, hint: help, code: 'ERR_ARGUMENT', exit: EXIT.usage };
  }
  if (error instanceof LowRankError) {
    const wrongUsage = error.code === 'ERR_ARGUMENT';
    const hint = error.hint ?? (wrongUsage ? help : undefined);
    return { message: error.message, hint, code: error.code, exit: wrongUsage ? EXIT.usage : EXIT.failed };
  }
  return {
    message: error instanceof Error ? error.message : String(error),
    hint: 'Unexpected error. Please report it, with the stack trace that LOWRANK_DEBUG=1 prints.',
    code: 'ERR_UNEXPECTED',
    exit: EXIT.failed,
  };
}

/** Suggests a choice for a misspelt one, as commander does for options. */
function withSuggestion(message: string): string {
  const [, given, choices] = /argument '(.*)' is invalid\. Allowed choices are (.*)\.$/s.exec(message) ?? [];
  const meant = given === undefined ? undefined : mostSimilar(given, choices!.split(', '));
  return meant === undefined ? message : `${message}\n(Did you mean ${meant}?)`;
}

function describeStack(error: Error): string {
  const stack = error.stack ?? error.message;
  return error.cause instanceof Error ? `${stack}\ncaused by: ${describeStack(error.cause)}` : stack;
}
