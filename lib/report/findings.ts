import type {
  Candidate,
  MatrixLine,
  SearchCounts,
  SearchHeader,
  SearchLine,
  SearchSeconds,
  TestLine,
  Trial,
} from '../search/log-lines.js';
import { compareScores } from '../search/score.js';
import { countsOf, secondsOf } from '../search/summary.js';

/** The contents of a search log, finished or not. */
export interface Findings {
  readonly header: SearchHeader;
  /** In their order, the base first. */
  readonly trials: readonly Trial[];
  /** The unedited model; undefined until it has been asked all questions. */
  readonly base: Trial | undefined;
  /** Undefined if the search is not finished. */
  readonly test: TestLine | undefined;
  /** The winner, or the best trial so far; undefined until there is a trial. */
  readonly best: Trial | undefined;
  /**
   * The interventions of the best trial, each with the trial that introduced it; none for the base.
   */
  readonly interventions: readonly ChosenIntervention[];
  readonly counts: SearchCounts;
  readonly seconds: SearchSeconds;
  /** The decompositions of matrices, by {@link keyOf}. */
  readonly matrices: ReadonlyMap<string, MatrixLine>;
}

interface ChosenIntervention {
  readonly candidate: Candidate;
  readonly trial: Trial | undefined;
}

export function findingsOf([header, ...lines]: readonly [SearchHeader, ...SearchLine[]]): Findings {
  const trials = lines.filter((line) => line.line === 'trial').sort((a, b) => a.number - b.number);
  const test = lines.find((line) => line.line === 'test');
  const best = test === undefined ? bestSoFar(trials, header) : trials.find(({ number }) => number === test.winner);
  const candidates = test?.interventions ?? (best?.candidate === undefined ? [] : [...best.upon, best.candidate]);
  return {
    header,
    trials,
    base: trials.find(({ stage }) => stage === 'base'),
    test,
    best,
    interventions: candidates.map((candidate) => ({ candidate, trial: trialOf(candidate, trials) })),
    counts: test?.counts ?? countsOf(lines),
    seconds: test?.seconds ?? secondsOf(lines, 0),
    matrices: new Map(lines.flatMap((line) => (line.line === 'matrix' ? [[keyOf(line), line]] : []))),
  };
}

/** Returns a key that distinguishes a matrix from the others of a model. */
export function keyOf({ tensor, slice }: Pick<MatrixLine, 'tensor' | 'slice'>): string {
  return JSON.stringify([tensor, slice ?? null]);
}

/**
 * Finds the best trial by the rule of the search: the first of equals among complete trials; when
 * composing, the last accepted one.
 */
function bestSoFar(trials: readonly Trial[], { settings }: SearchHeader): Trial | undefined {
  const accepted = trials.filter((trial) => trial.accepted);
  if (accepted.length > 0) return accepted.at(-1);
  return trials
    .filter(({ stage, verdict }) => stage !== 'greedy' && verdict === 'complete')
    .reduce<Trial | undefined>(
      (best, trial) =>
        best === undefined || compareScores(trial.score, best.score, settings.objective) < 0 ? trial : best,
      undefined,
    );
}

/**
 * Returns the trial that brought an intervention into the model: accepted in composing, or of the
 * grid.
 */
function trialOf({ kind, spec }: Candidate, trials: readonly Trial[]): Trial | undefined {
  const own = trials.filter(({ candidate }) => candidate?.kind === kind && candidate.spec === spec);
  return own.find(({ accepted }) => accepted) ?? own.find(({ stage }) => stage === 'grid');
}
