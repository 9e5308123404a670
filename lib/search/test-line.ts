import { type Comparison, compareResults, type Metric } from '../evaluate/metrics/summary.js';
import type { ExampleResult } from '../evaluate/result.js';
import { memoryUsage } from '../memory.js';
import type { Candidate, Objective, SearchCounts, SearchLine, TestLine, Trial } from './log-lines.js';
import type { Answers } from './score.js';
import { secondsOf } from './summary.js';

/** Enough for interval ends that are stable in the third digit. */
const RESAMPLES = 10_000;

/** Makes the log line of the test questions, with intervals of paired bootstrap draws. */
export async function testLine(what: {
  readonly base: Trial;
  readonly winner: Trial;
  readonly interventions: readonly Candidate[];
  readonly before: Answers | undefined;
  readonly after: Answers | undefined;
  readonly ended: TestLine['ended'];
  readonly objective: Objective;
  readonly seed: number;
  readonly counts: SearchCounts;
  readonly testSeconds: number;
  readonly lines: readonly SearchLine[];
  readonly signal: AbortSignal | undefined;
}): Promise<TestLine> {
  const { base, winner, interventions, before, after, ended, objective, seed, counts, testSeconds, lines, signal } =
    what;
  const draws = { seed, resamples: RESAMPLES, signal };
  const metrics: readonly Metric[] = objective === 'accuracy' ? ['accuracy', 'logLoss'] : ['perplexity', 'logLoss'];
  const comparisons: Comparison[] = [];
  for (const metric of after === undefined ? [] : metrics) {
    const [a, b] = [before!, after!];
    if (a.score[metric as 'accuracy'] === undefined || b.score[metric as 'accuracy'] === undefined) continue;
    if (a.results.length > 0 && b.results.length > 0)
      comparisons.push(await compareResults(a.results, b.results, metric, draws));
  }
  const validation: Comparison[] = [];
  const isChosen = interventions.length > 0 && /[01]/.test(base.outcomes) && /[01]/.test(winner.outcomes);
  if (isChosen) validation.push(await compareResults(judged(base), judged(winner), 'accuracy', draws));
  const { process, native } = memoryUsage();
  return {
    line: 'test',
    winner: interventions.length > 0 ? winner.number : 0,
    interventions,
    base: before?.score,
    edited: after?.score,
    comparisons,
    validation,
    counts,
    ended,
    memory: { peakRss: process.peakRss, nativePeak: native.peak },
    seconds: secondsOf(lines, testSeconds),
  };
}

/** A trial that was read from the log has only the correctness of its answers. */
function judged({ outcomes }: Trial): ExampleResult[] {
  return [...outcomes].flatMap((outcome, id) =>
    outcome === '-' ? [] : [{ id, correct: outcome === '1' } as unknown as ExampleResult],
  );
}
