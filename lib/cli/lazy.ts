import type { Command } from 'commander';
import { nameTerm } from './terminal/help.js';
import type { Terminal } from './terminal/terminal.js';

/** A command that is imported only if it may run: importing all takes twice the start of Node. */
export interface LazyCommand {
  /** The entry in the list of commands; begins with the name. */
  readonly term: string;
  readonly description: string;
  readonly load: () => Promise<Define>;
}

/** Adds arguments, options and action to a command, or commands of its own. */
type Define = (command: Command, terminal: Terminal, loading: Loading) => void | Promise<void>;

/** What is loaded of a program. */
export interface Loading {
  /**
   * The names of the command that may run and, before it, of those that it belongs to; only these
   * are loaded, others are listed. Undefined to load all.
   */
  readonly wanted: readonly string[] | undefined;
  /** Loads the program with all commands. */
  readonly whole: () => Promise<Command>;
}

/** Adds commands below `parent`, and loads the wanted ones. */
export async function addCommands(
  parent: Command,
  commands: readonly LazyCommand[],
  terminal: Terminal,
  { wanted, whole }: Loading,
): Promise<void> {
  for (const { term, description, load } of commands) {
    const command = parent.command(term.split(' ')[0]!).description(description);
    nameTerm(command, term);
    if (wanted !== undefined && wanted[0] !== command.name()) continue;
    await (await load())(command, terminal, { wanted: wanted?.slice(1), whole });
  }
}
