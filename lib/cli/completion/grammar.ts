import type { Argument, Command, Option } from 'commander';
import { KIND_NAMES } from '../../interventions/kinds/kinds.js';
import { LAYER_TYPES, TARGET_TYPES } from '../../model/types.js';

/** Values that a shell can offer at a place of the command line. */
export type Values =
  | { readonly kind: 'files' }
  /** Numbers, globs, names: nothing to offer. */
  | { readonly kind: 'free' }
  | { readonly kind: 'one' | 'list' | 'at'; readonly words: readonly string[] };

export interface OptionGrammar {
  readonly short: string | undefined;
  readonly long: string;
  readonly description: string;
  readonly repeatable: boolean;
  /** Undefined for a switch. */
  readonly value: { readonly name: string; readonly values: Values } | undefined;
}

interface ArgumentGrammar {
  readonly name: string;
  readonly values: Values;
  readonly variadic: boolean;
}

/** A command as a shell sees it. */
export interface CommandGrammar {
  /** Without the program's name: `''`, `'laser'`, `'lora extract'`. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly OptionGrammar[];
  readonly arguments: readonly ArgumentGrammar[];
}

/** @internal Values that commander does not know as choices: lists, and parts of longer values. */
export const KNOWN_VALUES: Readonly<Record<string, Values>> = {
  '--at': { kind: 'at', words: LAYER_TYPES },
  '--lname': { kind: 'one', words: LAYER_TYPES },
  '--types': { kind: 'list', words: TARGET_TYPES },
  '--kinds': { kind: 'list', words: KIND_NAMES },
};

/** Option placeholders that stand for paths. */
const ON_DISK = new Set(['path', 'file', 'folder']);

/**
 * Describes `program` and every command below it, from the definitions that parse the arguments.
 */
export function grammarOf(program: Command): CommandGrammar[] {
  const visit = (command: Command, path: readonly string[]): CommandGrammar[] => {
    const help = command.createHelp();
    const own: CommandGrammar = {
      path: path.join(' '),
      commands: help.visibleCommands(command).map((c) => ({ name: c.name(), description: c.description() })),
      options: help.visibleOptions(command).map(optionGrammar),
      arguments: command.registeredArguments.map(argumentGrammar),
    };
    return [own, ...command.commands.flatMap((inner) => visit(inner, [...path, inner.name()]))];
  };
  return visit(program, []);
}

function optionGrammar(option: Option): OptionGrammar {
  const { long, short, description } = option;
  const [, name] = /[<[]([^\]>]+)[\]>]/.exec(option.flags) ?? [];
  return {
    short: short ?? undefined,
    long: long ?? `--${option.name()}`,
    description,
    repeatable: description.includes('may be repeated') || description.includes('once for each'),
    value: name === undefined ? undefined : { name, values: optionValues(option, name) },
  };
}

function optionValues({ argChoices, long }: Option, name: string): Values {
  if (argChoices !== undefined) return { kind: 'one', words: argChoices };
  return KNOWN_VALUES[long ?? ''] ?? { kind: ON_DISK.has(name) ? 'files' : 'free' };
}

function argumentGrammar(argument: Argument): ArgumentGrammar {
  const { argChoices, variadic } = argument;
  const values: Values = argChoices === undefined ? { kind: 'files' } : { kind: 'one', words: argChoices };
  return { name: argument.name(), values, variadic };
}
