import type { Command } from 'commander';
import { addCommands, type LazyCommand, type Loading } from '../../lazy.js';
import type { Terminal } from '../../terminal/terminal.js';

const EXAMPLES = `
Examples:
  lowrank lora inspect my-adapter
  lowrank lora extract base tuned -o my-adapter --rank 16
  lowrank lora resize my-adapter -o smaller --energy 0.95
  lowrank lora correct model-f16.gguf model-Q4_0.gguf -o fix.gguf --imatrix imatrix.gguf
  lowrank lora convert my-adapter -o my-adapter.gguf --base base
  lowrank lora merge base my-adapter -o merged`;

const COMMANDS: readonly LazyCommand[] = [
  {
    term: 'inspect [options] <adapter>',
    description: 'list the modules of an adapter',
    load: async () => (await import('./inspect.js')).defineInspect,
  },
  {
    term: 'extract [options] <base> <tuned>',
    description: 'make an adapter from the difference of two checkpoints',
    load: async () => (await import('./extract.js')).defineExtract,
  },
  {
    term: 'resize [options] <adapter>',
    description: 'replace each update with its best approximation of smaller rank',
    load: async () => (await import('./resize.js')).defineResize,
  },
  {
    term: 'correct [options] <original> <quantised>',
    description: 'make an adapter of what quantisation took from a model',
    load: async () => (await import('./correct.js')).defineCorrect,
  },
  {
    term: 'convert [options] <adapter>',
    description: "change an adapter from PEFT's form to GGUF, or back",
    load: async () => (await import('./convert.js')).defineConvert,
  },
  {
    term: 'merge [options] <checkpoint> <adapters...>',
    description: 'add the updates of adapters to the weights of a checkpoint',
    load: async () => (await import('./merge.js')).defineMerge,
  },
];

/** `lowrank lora`: works on adapter files, PEFT's and GGUF. */
export async function defineLora(command: Command, terminal: Terminal, loading: Loading): Promise<void> {
  command.addHelpText('after', EXAMPLES);
  await addCommands(command, COMMANDS, terminal, loading);
}
