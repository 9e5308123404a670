import { describe, expect, it } from 'vitest';
import { discordance, signTest } from '../../../lib/evaluate/metrics/proportion.js';
import { searchReport } from '../../../lib/report/search-report.js';
import type { Trial } from '../../../lib/search/log-lines.js';
import { type Log, type MadeOptions, madeLog } from '../../support/search-log.js';
import { find, type Node, named, parseHtml, textOf } from './html-parser.js';

const parsed = (log: Log) => parseHtml(searchReport(log));
const report = (options?: MadeOptions) => parsed(madeLog(options));
const trialsIn = (log: Log) => log.filter((line): line is Trial => line.line === 'trial');

/** The rows of the table with a caption, each as its cells. */
function rowsOf(page: Node, caption: string): Node[][] {
  const tables = named(page, 'table').filter((table) => textOf(named(table, 'caption')[0]!).startsWith(caption));
  expect(tables).toHaveLength(1);
  return named(named(tables[0]!, 'tbody')[0]!, 'tr').map((row) =>
    find(row, ({ name }) => name === 'td' || name === 'th'),
  );
}

/** The exact numbers of a cell. */
const numbersIn = (cell: Node) => named(cell, 'data').map(({ attributes }) => Number(attributes.get('value')));

const LOGS: Readonly<Record<string, Log>> = {
  composed: madeLog(),
  'of perplexity': madeLog({ objective: 'perplexity' }),
  'of 200 trials': madeLog({ layers: 12, composed: false }),
  'with one trial': madeLog({ tried: 0, finished: false }),
  'without trials': [madeLog()[0]],
  unfinished: madeLog({ tried: 5, finished: false }),
  'that the base won': madeLog({ tried: 1 }),
  'of very long names': madeLog({ tensor: () => 'n'.repeat(100_000), source: `/${'s'.repeat(5000)}` }),
  'of the smallest singular values': madeLog({ kind: 'bottom' }),
  'of random ones': madeLog({ kind: 'random' }),
  'of pruning': madeLog({ kind: 'dropout' }),
};

describe('the report of a search', () => {
  it.each(Object.entries(LOGS))('%s is sound HTML, loads nothing and runs nothing', (_, log) => {
    const html = searchReport(log);
    const page = parseHtml(html);
    const policy = find(page, ({ attributes }) => attributes.get('http-equiv') === 'Content-Security-Policy');
    expect(policy[0]!.attributes.get('content')).toContain("default-src 'none'; style-src 'unsafe-inline'");
    for (const name of ['script', 'link', 'img', 'iframe', 'object', 'form']) expect(named(page, name)).toEqual([]);
    const attributes = find(page, () => true).flatMap((node) => [...node.attributes.keys()]);
    expect(attributes.filter((name) => /^on|^src|^style$/.test(name))).toEqual([]);
    expect(named(page, 'a').every(({ attributes: own }) => own.get('href')!.startsWith('#'))).toBe(true);
    expect(textOf(named(page, 'style')[0]!)).not.toMatch(/url\(|@import/);
  });

  it.each(Object.entries(LOGS))('%s can be read by who does not see', (_, log) => {
    const page = parsed(log);
    const ids = find(page, () => true).flatMap(({ attributes }) => attributes.get('id') ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    const meant = find(page, () => true).flatMap(({ attributes }) => [
      ...(attributes.get('aria-labelledby')?.split(' ') ?? []),
      ...(attributes.get('href')?.slice(1).split(' ') ?? []),
    ]);
    expect(meant.filter((id) => !ids.includes(id))).toEqual([]);
    for (const table of named(page, 'table')) {
      expect(textOf(named(table, 'caption')[0]!)).not.toBe('');
      for (const cell of named(table, 'th')) expect(cell.attributes.get('scope')).toMatch(/^(row|col)$/);
      const widths = named(table, 'tr').map((row) => row.children.length);
      expect(new Set(widths).size).toBe(1);
    }
    for (const svg of named(page, 'svg')) {
      expect(svg.attributes.get('role')).toBe('img');
      expect(textOf(named(svg, 'title')[0]!)).not.toBe('');
    }
    expect(named(page, 'html')[0]!.attributes.get('lang')).toBe('en');
    expect(named(page, 'h1')).toHaveLength(1);
  });

  it.each(['composed', 'of perplexity', 'of 200 trials', 'unfinished', 'with one trial'])(
    '%s: the table of trials has the numbers of the log',
    (name) => {
      const log = LOGS[name]!;
      const rows = rowsOf(parsed(log), 'Trials in their order');
      const metrics =
        name === 'of perplexity' ? (['logLoss', 'perplexity'] as const) : (['accuracy', 'logLoss'] as const);
      const [base] = trialsIn(log);
      const wanted = trialsIn(log).map(({ stage, score, change, outcomes, seconds }) => [
        ...metrics.flatMap((metric) => [score[metric], ...(stage === 'base' ? [] : [change[metric]])]),
        ...(stage === 'base' || name === 'of perplexity' ? [] : [signTest(discordance(outcomes, base!.outcomes))]),
        score.questions,
        seconds.edit + seconds.evaluate,
      ]);
      expect(rows.map((row) => row.flatMap(numbersIn))).toEqual(wanted);
    },
  );

  it('the heat maps have every change at its place', () => {
    const log = madeLog({ layers: 3, composed: false });
    const page = parsed(log);
    for (const type of ['fc_in', 'fc_out']) {
      const table = named(page, 'table').find((each) => textOf(named(each, 'caption')[0]!) === type)!;
      const [head, ...rows] = named(table, 'tr');
      const shares = named(head!, 'th')
        .slice(1)
        .map((cell) => textOf(cell).replace('kept ', ''));
      expect(rows.map((row) => textOf(named(row, 'th')[0]!))).toEqual(['layer 2', 'layer 1', 'layer 0']);
      for (const row of rows) {
        const layer = textOf(named(row, 'th')[0]!).replace('layer ', '');
        const changes = named(row, 'td').map((cell) => numbersIn(cell)[0]);
        const of = (spec: string) => trialsIn(log).find(({ candidate }) => candidate?.spec === spec)!.change.accuracy;
        expect(changes).toEqual(shares.map((share) => of(`${layer}:${type}:${share}`)));
      }
    }
  });

  it('colours distinguish better from worse, reversed for perplexity, and marks show the rest', () => {
    for (const objective of ['accuracy', 'perplexity'] as const) {
      const log = madeLog({ objective, tried: 20, finished: false });
      const page = parsed(log);
      const sign = objective === 'accuracy' ? 1 : -1;
      const cells = named(page, 'td').filter(({ attributes }) => /better|worse/.test(attributes.get('class') ?? ''));
      expect(cells).toHaveLength(20);
      for (const cell of cells) {
        const change = sign * numbersIn(cell)[0]!;
        expect(cell.attributes.get('class')).toMatch(change > 0 ? /better[1-5]/ : /worse[1-5]/);
      }
      const best = cells.filter(({ attributes }) => attributes.get('class')!.includes('best'));
      expect(best.map(textOf)).toEqual([expect.stringContaining(', chosen')]);
      const stopped = cells.filter((cell) => textOf(cell).includes('stopped after 32 questions'));
      expect(stopped).toHaveLength(trialsIn(log).filter(({ verdict }) => verdict === 'behind').length);
      expect(named(page, 'td').filter((cell) => textOf(cell).includes('not tried'))).toHaveLength(16);
    }
  });

  it('says of every accuracy how sure it is, and marks changes that may be chance', () => {
    const page = parsed(madeLog({ tried: 20, finished: false }));
    const cells = named(page, 'td').filter(({ attributes }) => attributes.get('class')?.includes('chance'));
    // The smallest changes of the made-up log, and none of the large ones.
    expect(cells.length).toBeGreaterThan(0);
    for (const cell of cells) expect(Math.abs(numbersIn(cell)[0]!)).toBeLessThan(0.2);
    const scores = rowsOf(page, 'Scores of the models').find(([name]) => textOf(name!) === 'validation accuracy')!;
    expect(scores.slice(1).map(textOf)).toEqual(['40.00 % (35.32 % to 44.87 %)', '98.75 % (97.11 % to 99.46 %)']);
    for (const [, , , accuracy] of rowsOf(page, 'Trials in their order')) {
      expect(textOf(accuracy!)).toMatch(/^[\d.]+ % \([\d.]+ % to [\d.]+ %\)$/);
    }
  });

  it('shows the result first: the choice, its gain, and its certainty', () => {
    const page = report();
    const lead = textOf(named(page, 'header')[0]!);
    expect(lead).toContain('Chosen on validation: 1:fc_in:0.01 + 1:fc_out:0.01.');
    expect(lead).toContain('36.30 % → 100.00 %');
    expect(lead).toContain('+63.70 points95 % interval +60.70 to +66.70');
    const rows = rowsOf(page, 'The chosen model minus the unedited model');
    expect(rows.map((row) => row.flatMap(numbersIn))).toEqual([
      [0.637, 0.607, 0.667, 1000, 1],
      [-0.613, -0.617, -0.608, 1000, 1],
      [0.01, -0.02, 0.04, 400, 0.7],
    ]);
  });

  it('certificates are those of the trials that made the model', () => {
    // Of the second intervention there are two trials: of the grid, and the one in which it was
    // accepted.
    const log = madeLog().map((line) =>
      line.line === 'trial' && line.accepted
        ? {
            ...line,
            matrices: line.matrices.map((matrix) => ({ ...matrix, keptEnergy: 0.125, smallestError: undefined })),
          }
        : line,
    ) as unknown as Log;
    const rows = rowsOf(parsed(log), 'The edit of each matrix');
    expect(rows.map((row) => textOf(row[0]!))).toEqual(['blk.1.fc_in.weight', 'blk.1.fc_out.weight']);
    const { keptEnergy, relativeError, smallestError } = trialsIn(log)[2]!.matrices[0]!;
    const second = trialsIn(log).find(({ accepted }) => accepted)!.matrices[0]!;
    expect(rows.map((row) => row.flatMap(numbersIn))).toEqual([
      [keptEnergy, relativeError, smallestError, relativeError / smallestError! - 1],
      [0.125, second.relativeError],
    ]);
  });

  it('memory and time are those of the log', () => {
    const rows = rowsOf(report(), 'Memory and time');
    const found = Object.fromEntries(rows.map(([name, cell]) => [textOf(name!), numbersIn(cell!)[0]]));
    expect(found).toMatchObject({
      'total time': 60.91,
      'asking test questions': 18.38,
      'peak memory of the process': 187_600_896,
      'peak of the native work memory': 531_968,
      'decompositions computed': 4,
      'decompositions from memory': 53,
    });
  });

  it('an unfinished search is shown as such, with counts and without a test', () => {
    const page = parsed(LOGS.unfinished!);
    const text = textOf(named(page, 'body')[0]!);
    expect(text).toContain(
      'The search is unfinished: 5 of 36 candidates tried so far. Best so far on validation: 1:fc_in:0.01.',
    );
    expect(text).toContain('Its gain on validation is significant (p < 0.001, sign test for the best of 5 trials).');
    expect(text).toContain('40.00 % → 98.75 %accuracy (97.11 % to 99.46 %)');
    const rows = rowsOf(page, 'Memory and time');
    expect(rows.find(([name]) => textOf(name!) === 'candidates tried')!.flatMap(numbersIn)).toEqual([5]);
    expect(textOf(named(parsed(LOGS['without trials']!), 'body')[0]!)).toContain('has not been evaluated yet');
    expect(textOf(named(parsed(LOGS['that the base won']!), 'body')[0]!)).toContain('No intervention is better');
  });

  it('gives the command back as it can be pasted, and the one that makes the model', () => {
    const commands = named(report(), 'pre').map(textOf);
    expect(commands).toEqual([
      "lowrank search /models/example/model.gguf --dataset 'my questions.jsonl' -o found --compose greedy",
      'lowrank laser /models/example/model.gguf -o edited --at 1:fc_in:0.01 --at 1:fc_out:0.01',
    ]);
    const called = report({ command: undefined, kind: 'bottom', composed: false });
    expect(named(called, 'pre').map(textOf)).toEqual([
      'lowrank laser /models/example/model.gguf -o edited --family gpt2 --intervention bottom --at 1:fc_in:0.01',
    ]);
    const typed = ['lowrank', 'search', 'm.gguf', '--family=gpt2'];
    expect(named(report({ command: typed, quant: 'Q8_0' }), 'pre').map(textOf)[1]).toMatch(
      / -o edited --family gpt2 --quant Q8_0 --at /,
    );
    expect(textOf(called)).toContain('called as a function');
  });

  it('draws the kept part of a spectrum at its place', () => {
    /**
     * Where the painted parts of the first figure begin and end, as places among the singular
     * values.
     */
    const painted = (kind: MadeOptions['kind'], style: 'kept' | 'dropped') => {
      const page = report({ kind, composed: false, rhos: [0.1, 0.25], size: 128 });
      const path = named(named(page, 'svg').at(-1)!, 'path').find(
        ({ attributes }) => attributes.get('class') === style,
      )!;
      const place = (x: number) => Math.round(((x - 44) / (330 - 44)) ** 2 * 128);
      return [...path.attributes.get('d')!.matchAll(/M([\d.]+) [^M]*H([\d.]+)V[\d.]+Z/g)].map(([, from, to]) => [
        place(Number(from)),
        place(Number(to)),
      ]);
    };
    expect(painted('rank-reduction', 'kept')).toEqual([[0, 32]]);
    expect(painted('rank-reduction', 'dropped')).toEqual([[32, 128]]);
    expect(painted('bottom', 'kept')).toEqual([[96, 128]]);
    const random = painted('random', 'kept');
    expect(random.length).toBeGreaterThan(5);
    expect(random.reduce((sum, [from, to]) => sum + to! - from!, 0)).toBe(32);
    expect(painted('zero', 'kept')).toEqual([]);
  });

  it('stays small: 200 trials of large matrices are less than a megabyte', () => {
    const log = madeLog({ layers: 12, size: 4096, composed: false });
    expect(trialsIn(log).length).toBeGreaterThan(200);
    expect(searchReport(log).length).toBeLessThan(1_000_000);
  });

  it('names, paths and problems are only ever text', () => {
    const attacks = [
      `"><script>alert(1)</script>`,
      `'><img src=x onerror=alert(1)>`,
      '</title></style></head><body onload=alert(1)>',
      '<!--',
      ']]><svg/onload=alert(1)>',
      '&lt;b&gt; &amp; &#60;',
      '\u0000\u001b[31m\u202egnp.exe\u2028\ud800\uffff',
      '{}</code><style>*{display:none}</style>',
    ];
    const harmless = find(report(), () => true).map(({ name }) => name);
    for (const attack of attacks) {
      const [header, ...lines] = madeLog({
        tensor: ({ layer, type }) => `${attack} ${layer}.${type}`,
        source: `/m/${attack}`,
        command: [attack, attack],
      });
      const { settings } = header;
      const validation = { path: attack, digest: attack, count: 400 };
      const hostile: Log = [
        {
          ...header,
          lowrank: attack,
          digest: attack,
          started: attack,
          settings: {
            ...settings,
            family: attack,
            engine: attack,
            compat: attack,
            questions: { validation, test: validation },
          },
        },
        ...lines.map((line) =>
          line.line === 'trial' && line.number === 3 ? { ...line, verdict: 'failed' as const, problem: attack } : line,
        ),
      ];
      const page = parsed(hostile);
      const added = new Map<string, number>();
      for (const { name } of find(page, () => true)) added.set(name, (added.get(name) ?? 0) + 1);
      for (const name of harmless) added.set(name, (added.get(name) ?? 0) - 1);
      // The compatibility adds a row; nothing that a name says is an element.
      expect([...added.keys()].every((name) => harmless.includes(name))).toBe(true);
      expect(named(page, 'body')).toHaveLength(1);
      expect(named(page, 'style')).toHaveLength(1);
      if (!attack.includes('\u001b')) expect(textOf(page)).toContain(attack);
      else expect(textOf(page)).toContain('\\u{0}\\u{1b}[31m\\u{202e}gnp.exe\\u{2028}\\u{d800}\\u{ffff}');
    }
  });

  it('numbers that are not finite are written in words', () => {
    const [header, ...lines] = madeLog({ composed: false });
    const broken: Log = [
      header,
      ...lines.map((line) =>
        line.line === 'trial' && line.number === 4
          ? {
              ...line,
              score: { ...line.score, logLoss: Number.POSITIVE_INFINITY },
              change: { ...line.change, accuracy: Number.NaN, logLoss: Number.POSITIVE_INFINITY },
            }
          : line,
      ),
    ];
    const html = searchReport(broken);
    expect(textOf(parseHtml(html))).toContain('∞');
    expect(html).not.toMatch(/(?:d|x|y|width|cx)="[^"]*(?:NaN|Infinity)/);
  });
});
