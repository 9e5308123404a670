import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Help } from 'commander';
import { describe, expect, it } from 'vitest';
import { grammarOf, KNOWN_VALUES } from '../../../lib/cli/completion/grammar.js';
import { createProgram, runProgram } from '../../../lib/cli/program.js';
import { commandsIn, commandsOf, screen, wordsOf } from '../../support/cli.js';

const paths = commandsOf(await createProgram(screen().terminal)).map(({ path }) => path);

async function help(path: readonly string[], columns?: number): Promise<string> {
  const { terminal, out, err } = screen(columns);
  expect(await runProgram([...path, '--help'], terminal)).toBe(0);
  expect(err()).toBe('');
  return out();
}

function examplesOf(text: string): string[] {
  return [...text.matchAll(/^ {2}(lowrank .+)$/gm)].map(([, line]) => line!);
}

describe('--help', () => {
  it('knows all commands', () => {
    expect(paths.map((path) => path.join(' '))).toEqual(
      expect.arrayContaining([
        '',
        'laser',
        'plan',
        'run',
        'merge',
        'inspect',
        'eval',
        'compare',
        'search',
        'lora extract',
        'doctor',
      ]),
    );
  });

  it.each(paths.map((path) => [path.join(' '), path] as const))(
    'of "%s" has examples that are understood',
    async (_, path) => {
      const text = await help(path);
      expect(text).toContain('\nExamples:\n');
      const examples = examplesOf(text.slice(text.indexOf('\nExamples:\n')));
      expect(examples.length).toBeGreaterThan(0);
      expect(examples.some((line) => line.startsWith(['lowrank', ...path].join(' ')))).toBe(true);
      for (const line of examples.flatMap(commandsIn)) {
        // The whole command line is parsed, and instead of doing the work the command says that it
        // was reached.
        const program = await createProgram(screen().terminal);
        let reached = '';
        for (const { path: name, command } of commandsOf(program)) {
          if (command.commands.length > 0) continue;
          command.exitOverride().action(() => {
            reached = name.join(' ');
          });
        }
        await program.parseAsync(wordsOf(line).slice(1), { from: 'user' });
        expect(`${line} `).toContain(`lowrank ${reached} `);
        expect(reached).not.toBe('');
      }
    },
  );

  it.each(paths.map((path) => [path.join(' '), path] as const))(
    'of "%s" fits into narrow and wide terminals',
    async (_, path) => {
      const words = (text: string) => text.split(/\s+/).join(' ');
      const described = async (columns?: number) => {
        const lines = (await help(path, columns)).split('\n');
        // The first line is the usage, which is never parted.
        return lines.slice(1, lines.indexOf('Examples:'));
      };
      const whole = await described();
      for (const width of [40, 60, 80, 200]) {
        const lines = await described(width);
        // Nor is what stands for a command in the list of commands.
        const parted = lines.filter((line) => !/^ {2}\w+ \[options\]( <[\w.]+>)+$/.test(line));
        expect(Math.max(...parted.map((line) => line.length))).toBeLessThanOrEqual(width);
        expect(words(lines.join(' '))).toBe(words(whole.join(' ')));
      }
    },
  );
});

describe('the list of commands', () => {
  const listed = (text: string) => [...text.matchAll(/^ {2}(\w.*?) {2,}/gm)].map(([, term]) => term!);

  it('shows a command that is not loaded with the arguments and options that it has when it is', async () => {
    const program = await createProgram(screen().terminal);
    const terms = program.commands.map((command) => new Help().subcommandTerm(command));
    expect(terms).toContain('laser [options] <checkpoint>');
    expect(listed(await help([]))).toEqual([...terms, 'help [command]']);
    // With no command loaded, and with all of them.
    const whole = screen();
    (await createProgram(whole.terminal)).outputHelp();
    expect(whole.out()).toBe(await help([]));
  });

  it('loads only the commands that are asked for', async () => {
    const program = await createProgram(screen().terminal, ['doctor']);
    const loaded = program.commands.filter(({ options }) => options.length > 0).map((command) => command.name());
    expect(loaded).toEqual(['doctor']);
  });
});

describe('the grammar for shells', async () => {
  const grammar = grammarOf(await createProgram(screen().terminal));

  it('has every command', () => {
    expect(grammar.map(({ path }) => path)).toEqual(paths.map((path) => path.join(' ')));
  });

  it('gives values only to options that exist', () => {
    const options = new Set(grammar.flatMap((command) => command.options.map(({ long }) => long)));
    expect(Object.keys(KNOWN_VALUES).filter((option) => !options.has(option))).toEqual([]);
  });

  it('takes choices from the commands themselves', () => {
    const laser = grammar.find(({ path }) => path === 'laser')!;
    const value = (long: string) => laser.options.find((option) => option.long === long)!.value!.values;
    expect(value('--method')).toEqual({
      kind: 'one',
      words: expect.arrayContaining(['auto', 'exact', 'gram', 'krylov']),
    });
    expect(value('--out')).toEqual({ kind: 'files' });
    expect(value('--seed')).toEqual({ kind: 'free' });
  });
});

describe('errors', () => {
  it.each([
    ['laser', ['laser', 'x', '--at', '0:fc_in:0.5'], 'lowrank laser --help'],
    ['lora merge', ['lora', 'merge', 'x', 'y'], 'lowrank lora merge --help'],
    ['lora', ['lora', 'mix'], 'lowrank lora --help'],
    ['', ['lazer'], 'lowrank --help'],
  ])('of "%s" point to the help of that command', async (_, args, expected) => {
    const { terminal, err } = screen();
    expect(await runProgram(args, terminal)).toBe(2);
    expect(err()).toContain(`hint: See: ${expected}\n`);
  });

  it('of the command line all have a hint: their own, or for wrong usage the help', () => {
    const folder = fileURLToPath(new URL('../../../lib/cli', import.meta.url));
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(`${folder}/${name}`, 'utf8'));
    const thrown = sources.flatMap((source) =>
      [...source.matchAll(/new (?:LowRankError|CheckpointError)\((.*?)\);\n/gs)].map(([, args]) => args!),
    );
    expect(thrown.length).toBeGreaterThan(0);
    expect(thrown.filter((args) => !args.includes("'ERR_ARGUMENT'") && !args.includes('hint'))).toEqual([]);
  });
});
