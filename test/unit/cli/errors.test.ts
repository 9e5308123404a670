import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runProgram } from '../../../lib/cli/program.js';
import { screen } from '../../support/cli.js';
import { temporaryFolder } from '../../support/folder.js';

const folder = temporaryFolder();

async function errorsOf(args: readonly string[]): Promise<{ code: number; lines: string[] }> {
  const { terminal, err } = screen();
  const code = await runProgram(args, terminal);
  return { code, lines: err().split('\n') };
}

describe('a failure on the command line', () => {
  it.each([
    [['lasr'], "error: unknown command 'lasr'", '(Did you mean laser?)'],
    [['laser', '--metod', 'exact'], "error: unknown option '--metod'", '(Did you mean --method?)'],
    [['lora', 'extrct'], "error: unknown command 'extrct'", '(Did you mean extract?)'],
  ])('of %j asks on a line of its own what was meant', async (args, first, second) => {
    const { code, lines } = await errorsOf(args);
    expect(code).toBe(2);
    expect(lines.slice(0, 2)).toEqual([first, second]);
    expect(lines[2]).toMatch(/^hint: See: lowrank .*--help$/);
    expect(lines.slice(3)).toEqual(['']);
  });

  it('shows the typed command on one line, whatever it contains', async () => {
    for (const typed of ['lasr\u001b[31m\nhint: nothing', 'x\n(Did you mean laser?)', 'laser\n']) {
      const { lines } = await errorsOf([typed]);
      expect(lines[0]).toContain(`unknown command '${typed.split(/\W/)[0]}\\u{`);
      expect(lines.filter((line) => line.startsWith('hint: '))).toHaveLength(1);
      expect(lines.join('\n')).not.toMatch(/[^\P{Cc}\n]/u);
    }
  });

  it('keeps the lines of a failed program, distinct from its own', async () => {
    const questions = join(folder, 'questions.jsonl');
    await writeFile(questions, '{"prompt":"a","answer":"b"}\n');
    const program = `"${process.execPath}" -e "console.error('first\\nhint: \\u001b[31msecond');process.exit(3)"`;
    const { code, lines } = await errorsOf([
      'eval',
      folder,
      '--dataset',
      questions,
      '--split',
      'all',
      '--command',
      program,
    ]);
    expect(code).toBe(1);
    const at = lines.findIndex((line) => line.startsWith('error: '));
    expect(lines[at]).toMatch(/ended with 3$/);
    expect(lines.slice(at + 1, at + 3)).toEqual(['  first', '  hint: \\u{1b}[31msecond']);
  });
});
