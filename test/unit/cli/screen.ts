import type { Command } from 'commander';
import { Output, type Terminal } from '../../../lib/cli/terminal/terminal.js';

/** A terminal of so many columns, or with none a pipe, which keeps what is written to it. */
export function screen(columns?: number): { terminal: Terminal; out: () => string; err: () => string } {
  const written = { out: '', err: '' };
  const stream = (name: 'out' | 'err') => {
    const write = (text: string) => {
      written[name] += text;
      return true;
    };
    return new Output({ isTTY: columns !== undefined, columns, write } as unknown as NodeJS.WriteStream);
  };
  return { terminal: { out: stream('out'), err: stream('err') }, out: () => written.out, err: () => written.err };
}

/** The commands of this package in a line of shell, which may join several and send what they print elsewhere. */
export function commandsIn(line: string): string[] {
  const parts = line.replace(/ #.*$/, '').split(/ (?:&&|\|) /);
  return parts.filter((part) => part.startsWith('lowrank ')).map((part) => part.replace(/ > \S+$/, ''));
}

/** The words of a command that has no other quotes than single ones. */
export function wordsOf(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|\S+/g)].map(([word, quoted]) => quoted ?? word);
}

/** All commands, with what one types to reach them. */
export function commandsOf(program: Command): { path: string[]; command: Command }[] {
  const visit = (command: Command, path: string[]): { path: string[]; command: Command }[] => [
    { path, command },
    ...command.commands.flatMap((inner) => visit(inner, [...path, inner.name()])),
  ];
  return visit(program, []);
}
