import type { Command } from 'commander';
import { Output, type Terminal } from '../../../lib/cli/terminal.js';

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

/** The words of a line of shell that has no other quotes than single ones, and no comment. */
export function wordsOf(line: string): string[] {
  return [...line.replace(/ #.*$/, '').matchAll(/'([^']*)'|\S+/g)].map(([word, quoted]) => quoted ?? word);
}

/** All commands, with what one types to reach them. */
export function commandsOf(program: Command): { path: string[]; command: Command }[] {
  const visit = (command: Command, path: string[]): { path: string[]; command: Command }[] => [
    { path, command },
    ...command.commands.flatMap((inner) => visit(inner, [...path, inner.name()])),
  ];
  return visit(program, []);
}
