import { Argument, type Command } from 'commander';
import type { Terminal } from '../terminal/terminal.js';
import { bashCompletion } from './bash.js';
import { fishCompletion } from './fish.js';
import { type CommandGrammar, grammarOf } from './grammar.js';
import { zshCompletion } from './zsh.js';

const SCRIPTS: Readonly<Record<string, (grammar: readonly CommandGrammar[]) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
};

const EXAMPLES = `
Examples:
  lowrank completion bash

To have it, once and for all:
  bash  echo 'source <(lowrank completion bash)' >> ~/.bashrc
  zsh   echo 'source <(lowrank completion zsh)' >> ~/.zshrc, after compinit
  fish  lowrank completion fish > ~/.config/fish/completions/lowrank.fish`;

/** `lowrank completion`: the script that completes commands, options and their values in a shell. */
export function addCompletionCommand(program: Command, terminal: Terminal): void {
  program
    .command('completion')
    .description('print the script that completes lowrank in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SCRIPTS)))
    .addHelpText('after', EXAMPLES)
    .action((shell: string) => terminal.out.write(SCRIPTS[shell]!(grammarOf(program))));
}
