import type { Command } from 'commander';
import { addCommands, type LazyCommand, type Loading } from '../../lazy.js';
import type { Terminal } from '../../terminal/terminal.js';

const EXAMPLES = `
Examples:
  lowrank lora inspect my-adapter
  lowrank lora extract base tuned -o my-adapter --rank 16
  lowrank lora resize my-adapter -o smaller --energy 0.95
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
    term: 'merge [options] <checkpoint> <adapters...>',
    description: 'add the updates of adapters to the weights of a checkpoint',
    load: async () => (await import('./merge.js')).defineMerge,
  },
];

/** `lowrank lora`: works on PEFT's adapter files. */
export async function defineLora(command: Command, terminal: Terminal, loading: Loading): Promise<void> {
  command.addHelpText('after', EXAMPLES);
  await addCommands(command, COMMANDS, terminal, loading);
}
