import type { Command } from 'commander';
import { addLoraExtractCommand } from './lora-extract.js';
import { addLoraInspectCommand } from './lora-inspect.js';
import { addLoraMergeCommand } from './lora-merge.js';
import { addLoraResizeCommand } from './lora-resize.js';
import type { Terminal } from './terminal.js';

/** `lowrank lora`: adapters in the files of PEFT. */
export function addLoraCommand(program: Command, terminal: Terminal): void {
  const lora = program.command('lora').description('inspect, extract, resize and merge LoRA adapters (PEFT files)');
  addLoraInspectCommand(lora, terminal);
  addLoraExtractCommand(lora, terminal);
  addLoraResizeCommand(lora, terminal);
  addLoraMergeCommand(lora, terminal);
}
