import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runProgram } from '../../../lib/cli/program.js';
import { wantsColors } from '../../../lib/cli/terminal/terminal.js';
import { screen } from '../../support/cli.js';

const model = fileURLToPath(new URL('../../../examples/noisy-recall/model', import.meta.url));
const INSPECT = ['inspect', model];
const LASER = ['laser', model, '--dry-run', '--at', 'all:all:0.1'];

beforeEach(() => {
  for (const name of ['NO_COLOR', 'FORCE_COLOR']) vi.stubEnv(name, undefined);
  vi.stubEnv('TERM', 'xterm');
});
afterEach(() => vi.unstubAllEnvs());

async function run(args: readonly string[], columns?: number): Promise<string> {
  const { terminal, out } = screen(columns);
  expect(await runProgram(args, terminal)).toBe(0);
  return out();
}

/** Without the codes of colours, which take no room. */
function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of the terminal.
  return text.replace(/\u001b\[\d*m/g, '');
}

describe('colours', () => {
  it.each([
    ['a terminal', true, {}, true],
    ['a pipe', false, {}, false],
    ['a terminal that knows none', true, { TERM: 'dumb' }, false],
    ['NO_COLOR', true, { NO_COLOR: '1' }, false],
    ['an empty NO_COLOR', true, { NO_COLOR: '' }, true],
    ['FORCE_COLOR in a pipe', false, { FORCE_COLOR: '1' }, true],
    ['FORCE_COLOR=0', true, { FORCE_COLOR: '0' }, false],
    ['both', true, { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
  ])('%s', (_, isTerminal, environment, expected) => {
    expect(wantsColors(isTerminal, environment)).toBe(expected);
  });

  it('are written by commands if requested, and change nothing else', async () => {
    const coloured = await run(INSPECT, 200);
    expect(coloured).toContain('\u001b[1m');
    vi.stubEnv('NO_COLOR', '1');
    const bare = await run(INSPECT, 200);
    expect(bare).not.toContain('\u001b');
    expect(plain(coloured)).toBe(bare);
    vi.stubEnv('NO_COLOR', undefined);
    vi.stubEnv('FORCE_COLOR', '1');
    expect(await run(INSPECT)).toContain('\u001b[1m');
  });
});

describe('tables', () => {
  it.each([
    ['laser --dry-run', LASER, /^family/, /^\d+ matrices/],
    ['inspect', INSPECT, /^$/, undefined],
    ['inspect --spectrum', ['inspect', model, '--spectrum', '--tensor', '*.h.1.mlp.*.weight'], /^$/, undefined],
  ] as const)('of %s fit into narrow terminals, and are complete in wide ones', async (_, args, before, after) => {
    const table = async (columns?: number) => {
      const lines = plain(await run(args, columns))
        .trimEnd()
        .split('\n');
      const end = after === undefined ? lines.length : lines.findIndex((line) => after.test(line));
      return lines.slice(lines.findIndex((line) => before.test(line)) + 1, end);
    };
    const whole = await table();
    expect(whole.length).toBeGreaterThan(2);
    expect(await table(200)).toEqual(whole);
    for (const width of [40, 60, 80]) {
      const lines = await table(width);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
      expect(lines.length).toBeGreaterThanOrEqual(whole.length - 1);
    }
    // Nothing is lost but the middle of names and what the last line names: each row's shape, if
    // that is not among it.
    const shapes = (lines: readonly string[]) => lines.flatMap((line) => line.match(/\d+( x \d+)+/g) ?? []);
    for (const width of [20, 40, 60, 80]) {
      const lines = await table(width);
      const named = /\(no room: [^)]*shape/.test(lines.join(' '));
      expect(shapes(lines)).toEqual(named ? [] : shapes(whole));
    }
  });
});
