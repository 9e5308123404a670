import {
  type SearchCounts,
  type SearchHeader,
  type SearchLine,
  type SearchSeconds,
  type SearchSummary,
  STOPPED,
  type TestLine,
  type Trial,
} from './log-lines.js';

/** Makes the contents of `summary.json`. */
export function summarise(
  { settings, command }: SearchHeader,
  lines: readonly SearchLine[],
  test: TestLine,
  model: string | undefined,
): SearchSummary {
  const trials = trialsOf(lines);
  const byNumber = new Map(trials.map((trial) => [trial.number, trial]));
  const winnerTrial = byNumber.get(test.winner)!;
  const greedy = trials.filter(({ stage }) => stage === 'greedy');
  const start = greedy[0]?.upon[0];
  const gridTrial = start === undefined ? winnerTrial : trials.find(({ candidate }) => isSame(candidate, start))!;
  const { candidates: _, ...rest } = settings;
  const { line: __, ...outcome } = test;
  return {
    ...outcome,
    settings: rest,
    command,
    baseTrial: withoutLosses(byNumber.get(0)!),
    winnerTrial: withoutLosses(winnerTrial),
    gridTrial: withoutLosses(gridTrial),
    greedy: greedy.map(({ candidate, accepted, verdict }) => ({
      candidate: candidate!,
      accepted: accepted === true,
      verdict,
    })),
    model,
  };
}

/** Counts the work that the lines of a log record. */
export function countsOf(lines: readonly SearchLine[]): SearchCounts {
  const trials = trialsOf(lines);
  const from = (where: string) => lines.filter((line) => line.line === 'matrix' && line.from === where).length;
  const [computed, disk] = [from('computed'), from('disk')];
  // Every matrix whose components were chosen needed its decomposition.
  const needed = trials
    .flatMap(({ matrices }) => matrices)
    .filter(({ rank, shape }) => {
      return rank !== undefined && rank < Math.min(...shape.slice(-2));
    });
  return {
    trials: trials.filter(({ stage }) => stage !== 'base').length,
    stopped: trials.filter(({ verdict }) => STOPPED.has(verdict)).length,
    outranked: trials.filter(({ verdict }) => verdict === 'outranked').length,
    asked: trials.reduce((sum, { score }) => sum + score.questions, 0),
    svds: { computed, disk, memory: Math.max(0, needed.length - computed - disk) },
  };
}

/** Sums the wall time of all runs from their records. */
export function secondsOf(lines: readonly SearchLine[], test: number): SearchSeconds {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const trials = trialsOf(lines);
  const svd = sum(lines.map((line) => (line.line === 'matrix' ? line.seconds : 0)));
  const making = sum(trials.map(({ seconds }) => seconds.edit));
  const evaluate = sum(trials.map(({ seconds }) => seconds.evaluate));
  return { svd, edit: Math.max(0, making - svd), evaluate, test, total: making + evaluate + test };
}

/** There are many of them, and the log has them. */
function withoutLosses(trial: Trial): Trial {
  return { ...trial, losses: undefined };
}

function trialsOf(lines: readonly SearchLine[]): Trial[] {
  return lines.filter((line) => line.line === 'trial');
}

function isSame(a: Trial['candidate'], b: Trial['candidate']): boolean {
  return a !== undefined && a.kind === b?.kind && a.spec === b.spec;
}
