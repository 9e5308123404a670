import { Argument, type Command } from 'commander';
import type { Loading } from '../lazy.js';
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

To install it:
  bash  echo 'source <(lowrank completion bash)' >> ~/.bashrc
  zsh   echo 'source <(lowrank completion zsh)' >> ~/.zshrc, after compinit
  fish  lowrank completion fish > ~/.config/fish/completions/lowrank.fish`;

/**
 * `lowrank completion`: prints a shell completion script for commands, options and values.
 */
export function defineCompletion(command: Command, terminal: Terminal, { whole }: Loading): void {
  command
    .addArgument(new Argument('<shell>', 'name of the shell').choices(Object.keys(SCRIPTS)))
    .addHelpText('after', EXAMPLES)
    .action(async (shell: string) => terminal.out.write(SCRIPTS[shell]!(grammarOf(await whole()))));
}
