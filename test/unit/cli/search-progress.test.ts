import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SearchTable } from '../../../lib/cli/terminal/search-progress.js';
import type { Candidate, Trial } from '../../../lib/search/log-lines.js';
import type { SearchProgress } from '../../../lib/search/progress.js';
import { screen } from '../../support/cli.js';

const candidate = (spec: string): Candidate => ({ kind: 'rank-reduction', layer: 1, type: 'fc_in', rho: 0.1, spec });

function trial(
  spec: string,
  accuracy: number | undefined,
  logLoss: number | undefined,
  rest: Partial<Trial> = {},
): Trial {
  const score = { questions: 20, accuracy, logLoss, perplexity: undefined };
  return {
    line: 'trial',
    number: 1,
    stage: 'grid',
    candidate: candidate(spec),
    upon: [],
    matrices: [],
    problem: undefined,
    verdict: 'complete',
    score,
    change: { accuracy: undefined, logLoss: undefined, perplexity: undefined },
    rival: 0,
    accepted: undefined,
    outcomes: '',
    losses: undefined,
    seconds: { edit: 1, evaluate: 1 },
    ...rest,
  };
}

function progress(rest: Partial<SearchProgress> = {}): SearchProgress {
  return {
    phase: 'grid',
    done: 3,
    total: 8,
    candidate: candidate('26:fc_in:0.01'),
    asked: 5,
    questions: 20,
    round: undefined,
    tokens: undefined,
    trial: undefined,
    resumed: false,
    base: undefined,
    best: undefined,
    seconds: 12,
    remainingSeconds: 90,
    warning: undefined,
    ...rest,
  };
}

const AHEAD = '8 candidates, at most about 1 min 30 s';

/** The lines that a terminal shows after what was written to it, but for what is ahead. */
function shown(written: string): string[] {
  return allShown(written).filter((line) => line !== AHEAD);
}

function allShown(written: string): string[] {
  const lines = [''];
  let row = 0;
  const marked = written.replaceAll('\u001b[', '␛');
  for (const [, ups, clear, newline, text] of marked.matchAll(/␛(\d+)A\r|(␛J)|(\n)|([^␛\n]+)/g)) {
    if (ups !== undefined) row -= Number(ups);
    else if (clear !== undefined) lines.length = row;
    else if (newline !== undefined) row++;
    else lines[row] = (lines[row] ?? '') + text;
    expect(row).toBeGreaterThanOrEqual(0);
  }
  return lines.filter((line) => line !== undefined && line !== '');
}

describe('the progress of a search, on a terminal', () => {
  beforeEach(() => {
    vi.stubEnv('NO_COLOR', '1');
    vi.useFakeTimers({ toFake: ['performance'] });
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.useRealTimers();
  });

  it('is one table in its place, of the five best, the most accurate first, then the surest', () => {
    const { terminal, err } = screen(100);
    const table = new SearchTable(terminal.err);
    const scores = [0.5, 0.9, 0.7, 0.9, 0.6, 0.8, 0.4];
    for (const [i, accuracy] of scores.entries()) {
      table.show(progress({ trial: trial(`${i}:fc_in:0.1`, accuracy, i === 1 ? 0.7 : 0.5) }));
    }
    table.show(progress({ trial: trial('9:fc_in:0.1', 1, 0.1, { verdict: 'hopeless' }) }));
    const [head, titles, ...rows] = shown(err());
    expect(head).toMatch(/^grid 3\/8 26:fc_in:0\.01 5\/20, 12.* s, about .* left$/);
    expect(titles).toMatch(/^best so far +validation +log loss$/);
    expect(rows.map((row) => row.split(':')[0])).toEqual(['3', '1', '5', '2', '4']);
    expect(rows[0]).toMatch(/ 90\.00 % \(69 to 98\) +0\.5000$/);
    table.end();
    expect(shown(err())).toEqual([]);
  });

  it('says before the first candidate what is ahead, once, and names rounds', () => {
    const { terminal, err } = screen(100);
    const table = new SearchTable(terminal.err);
    table.show(progress({ round: { number: 2, of: 5 } }));
    vi.advanceTimersByTime(101);
    table.show(progress({ remainingSeconds: 70 }));
    expect(allShown(err())).toEqual([
      AHEAD,
      expect.stringMatching(/^grid 3\/8 .* about 1 min 10 s left$/),
      expect.any(String),
    ]);
    expect(err()).toContain('round 2/5 3/8 26:fc_in:0.01');
  });

  it('counts tokens inside a batch', () => {
    const { terminal, err } = screen(100);
    const table = new SearchTable(terminal.err);
    const tokens = { done: 1500, total: 4000, generated: 0, remainingSeconds: 3 };
    table.show(progress({ tokens }));
    expect(shown(err())[0]).toContain(' 5/20 (1,500/4,000 tokens), ');
  });

  it('is drawn at most ten times a second, but with every trial', () => {
    const { terminal, err } = screen(100);
    const table = new SearchTable(terminal.err);
    table.show(progress());
    const first = err();
    table.show(progress({ asked: 6 }));
    expect(err()).toBe(first);
    vi.advanceTimersByTime(101);
    table.show(progress({ asked: 7 }));
    expect(shown(err())[0]).toContain(' 7/20');
    table.show(progress({ asked: 8, trial: trial('1:fc_in:0.1', 0.5, 0.5) }));
    expect(shown(err())[0]).toContain(' 8/20');
  });

  it('keeps warnings above it, and shows no control characters of theirs', () => {
    const { terminal, err } = screen(100);
    const table = new SearchTable(terminal.err);
    table.show(progress({ trial: trial('1:fc_in:0.1', 0.5, 0.5) }));
    table.show(progress({ warning: 'no room for \u0007 the cache', trial: trial('2:fc_in:0.1', 0.6, 0.5) }));
    const lines = shown(err());
    expect(lines[0]).toMatch(/^warning: no room for .* the cache$/);
    expect(lines[0]).not.toContain('\u0007');
    expect(lines).toHaveLength(5);
  });

  it.each([20, 40, 80])('fits into %d columns, so that no line takes two rows', (columns) => {
    const { terminal, err } = screen(columns);
    const table = new SearchTable(terminal.err);
    const upon = Array.from({ length: 6 }, (_, i) => candidate(`${10 + i}-${20 + i}:out_proj:0.0125`));
    for (let i = 0; i < 3; i++)
      table.show(progress({ trial: trial('26:fc_in:0.01', 0.5, 0.5, { stage: 'greedy', upon }) }));
    const lines = shown(err());
    expect(lines.filter((line) => line.startsWith('grid 3/8'))).toHaveLength(1);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(columns);
  });

  it('knows perplexity alone, and models without a score', () => {
    const { terminal, err } = screen(100);
    const table = new SearchTable(terminal.err);
    const told = (perplexity: number | undefined) => ({
      score: { questions: 20, accuracy: undefined, logLoss: undefined, perplexity },
    });
    table.show(progress({ trial: trial('1:fc_in:0.1', undefined, undefined, told(21.5)) }));
    table.show(progress({ trial: trial('2:fc_in:0.1', undefined, undefined, told(20.25)) }));
    table.show(
      progress({ phase: 'base', trial: trial('', undefined, undefined, { candidate: undefined, stage: 'base' }) }),
    );
    const [, , ...rows] = shown(err());
    const texts = rows.map((row) => row.replace(/ +/g, ' ').trim());
    expect(texts).toContain('unedited model');
    expect(texts.indexOf('2:fc_in:0.1 perplexity 20.250')).toBeLessThan(texts.indexOf('1:fc_in:0.1 perplexity 21.500'));
    expect(texts).toContain('1:fc_in:0.1 perplexity 21.500');
  });
});
