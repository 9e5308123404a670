import { discordance, fairCoin } from '../evaluate/metrics/proportion.js';
import type { PlannedCandidate } from './candidates.js';
import type { Objective, RoundLine, Trial, Verdict } from './log-lines.js';
import type { ProgressReporter, RemainingTrials } from './progress.js';
import { isBehind } from './race.js';
import { affordable, GUIDED_SHARE } from './rounds.js';
import { baseOnSame, compareScores, difference, scoreOf } from './score.js';
import type { Trials } from './trial-runner.js';

/** A candidate in the rounds, with its answers so far. */
interface Contender extends PlannedCandidate {
  readonly number: number;
  readonly rounds: RoundLine[];
  /** At the indexes of the set. */
  readonly outcomes: string[];
  readonly losses: RoundLine['losses'][number][];
}

interface RoundSettings {
  readonly objective: Objective;
  /** How many questions a candidate has been asked after each round; the last is all of them. */
  readonly rounds: readonly number[];
  /**
   * The probability that a significantly worse candidate was none in truth; undefined if none is
   * stopped for that.
   */
  readonly error: number | undefined;
  readonly progress: ProgressReporter;
}

/**
 * Tries the candidates of a grid in rounds, and logs the trial of each when it is outranked or has
 * been asked everything. After a round, candidates are stopped that are significantly worse than
 * the best so far (the sign test of {@link Race}, here for each pair of candidates), and the worst
 * of the others, by the criterion of the search, if the questions would exceed {@link
 * GUIDED_SHARE}.
 *
 * @param base the unedited model, asked all questions
 * @returns the trials in the order of the candidates
 */
export async function tryInRounds(
  trials: Trials,
  planned: readonly PlannedCandidate[],
  base: Trial,
  { objective, rounds, error, progress }: RoundSettings,
): Promise<Trial[]> {
  const order = trials.roundsOrder;
  // Any contender may be compared with any other, or with the base, after every round but the last.
  const comparisons = planned.length * planned.length * Math.max(1, rounds.length - 1);
  const threshold = error === undefined ? undefined : error / comparisons;
  const settled = new Map<number, Trial>();
  const settle = async (contender: Contender, verdict: Verdict) => {
    const trial = await trials.settle(trialOf(contender, base, verdict));
    settled.set(contender.number, trial);
    return trial;
  };
  let alive: Contender[] = planned.map((candidate, i) => ({
    ...candidate,
    number: i + 1,
    rounds: [],
    outcomes: order.map(() => '-'),
    losses: order.map(() => null),
  }));
  let best = base;
  let budget = GUIDED_SHARE * planned.length * order.length;
  for (const [i, end] of rounds.entries()) {
    const places = order.slice(rounds[i - 1] ?? 0, end);
    const isLast = i === rounds.length - 1;
    for (const [done, contender] of alive.entries()) {
      progress.expect(remaining(rounds, i, alive.length, done));
      progress.report({
        phase: 'grid',
        round: { number: i + 1, of: rounds.length },
        done,
        total: alive.length,
        candidate: contender.candidate,
        asked: 0,
        questions: places.length,
        tokens: undefined,
        best,
      });
      take(contender, await trials.round(i + 1, contender.number, contender.edits, places), places);
      if (!isLast) continue;
      const trial = await settle(contender, 'complete');
      if (compareScores(trial.score, best.score, objective) < 0) best = trial;
    }
    if (isLast) break;
    budget -= alive.length * places.length;
    const most = affordable(rounds, i + 1, budget);
    const { kept, dropped } = parted(alive, base, { objective, threshold, most });
    for (const [contender, verdict] of dropped) await settle(contender, verdict);
    alive = kept;
  }
  progress.expect(undefined);
  progress.report({ round: undefined, questions: order.length, best });
  return planned.map((_, i) => settled.get(i + 1)!);
}

function take(contender: Contender, line: RoundLine, places: readonly number[]): void {
  contender.rounds.push(line);
  for (const [i, place] of places.entries()) {
    contender.outcomes[place] = line.outcomes[i] ?? '-';
    contender.losses[place] = line.losses[i] ?? null;
  }
}

/** What decides whether a contender is asked on. */
interface Cut {
  readonly objective: Objective;
  /** Of the sign test; undefined for no test. */
  readonly threshold: number | undefined;
  /** How many the budget allows. */
  readonly most: number;
}

/**
 * Parts contenders after a round: those that are asked on, and the verdict of each other one. Who
 * is significantly worse than the best so far, or cannot reach the unedited model, goes. Of those
 * that are left, the budget may not allow all: then the worst go, any of which might have won.
 */
function parted(
  alive: readonly Contender[],
  base: Pick<Trial, 'outcomes'>,
  { objective, threshold, most }: Cut,
): { kept: Contender[]; dropped: Map<Contender, Verdict> } {
  const scores = new Map(alive.map((one) => [one, scoreOf(one.outcomes, one.losses)]));
  const ranked = alive
    .filter((one) => !isFailed(one))
    .sort((a, b) => compareScores(scores.get(a)!, scores.get(b)!, objective) || a.number - b.number);
  const dropped = new Map<Contender, Verdict>(alive.filter(isFailed).map((one) => [one, 'failed']));
  const rivals = [base.outcomes, ...ranked.slice(0, 1).map((leader) => leader.outcomes.join(''))];
  for (const one of threshold === undefined ? [] : ranked) {
    const isHopeless = rivals.some((rival) => {
      const { plus, minus } = discordance(one.outcomes, rival);
      return fairCoin(plus, plus + minus) <= threshold!;
    });
    if (isHopeless) dropped.set(one, 'hopeless');
    else if (isBehind(one.outcomes, base.outcomes)) dropped.set(one, 'behind');
  }
  const left = ranked.filter((one) => !dropped.has(one));
  for (const one of left.slice(most)) dropped.set(one, 'outranked');
  return { kept: alive.filter((one) => !dropped.has(one)), dropped };
}

function isFailed({ rounds }: Contender): boolean {
  return rounds.some(({ problem }) => problem !== undefined);
}

function trialOf(contender: Contender, base: Trial, verdict: Verdict): Trial {
  const { number, candidate, rounds, outcomes, losses } = contender;
  const score = scoreOf(outcomes, losses);
  const problem = rounds.find((round) => round.problem !== undefined)?.problem;
  const sum = (of: (seconds: Trial['seconds']) => number) => rounds.reduce((all, { seconds }) => all + of(seconds), 0);
  return {
    line: 'trial',
    number,
    stage: 'grid',
    candidate,
    upon: [],
    matrices: rounds[0]!.matrices,
    verdict: problem === undefined ? verdict : 'failed',
    problem,
    score,
    change: difference(score, baseOnSame(base, { outcomes, losses })),
    rival: base.number,
    accepted: undefined,
    outcomes: outcomes.join(''),
    losses: undefined,
    seconds: { edit: sum(({ edit }) => edit), evaluate: sum(({ evaluate }) => evaluate) },
  };
}

/** Lists what is left from a candidate of a round on. */
function remaining(rounds: readonly number[], round: number, alive: number, done: number): RemainingTrials[] {
  let candidates = alive;
  return rounds.slice(round).map((end, i) => {
    const trials = i === 0 ? alive - done : candidates;
    candidates = Math.ceil(candidates / 2);
    return { trials, questions: end - (rounds[round + i - 1] ?? 0) };
  });
}
