import type { Command } from 'commander';
import type { Terminal } from '../../terminal/terminal.js';
import { addLoraExtractCommand } from './extract.js';
import { addLoraInspectCommand } from './inspect.js';
import { addLoraMergeCommand } from './merge.js';
import { addLoraResizeCommand } from './resize.js';

const EXAMPLES = `
Examples:
  lowrank lora inspect my-adapter
  lowrank lora extract base tuned -o my-adapter --rank 16
  lowrank lora resize my-adapter -o smaller --energy 0.95
  lowrank lora merge base my-adapter -o merged`;

/** `lowrank lora`: works on PEFT's adapter files. */
export function defineLora(command: Command, terminal: Terminal): void {
  command.addHelpText('after', EXAMPLES);
  addLoraInspectCommand(command, terminal);
  addLoraExtractCommand(command, terminal);
  addLoraResizeCommand(command, terminal);
  addLoraMergeCommand(command, terminal);
}
