import type { Comparison } from '../evaluate/metrics/summary.js';
import { DEFAULT_KIND, type InterventionKind } from '../interventions/kinds/kinds.js';
import type { GroupType, MatrixType } from '../model/types.js';
import type { WritableType } from '../tensor/dtype.js';
import type { Slice } from '../tensor/slice.js';

/**
 * The log that a search writes while it runs, with everything that a report needs. `trials.jsonl`
 * in the output folder has one {@link SearchLine} a line: the header first, then matrices,
 * rounds and trials in the order of their results, at the end the test.
 *
 * The file stores numbers that JSON lacks as `{ "$number": "Infinity" }`; `readSearchLog` returns
 * them as numbers.
 */
export type SearchLine = SearchHeader | MatrixLine | RoundLine | Trial | TestLine;

/** An intervention that the search may try. */
export interface Candidate {
  readonly kind: InterventionKind;
  readonly layer: number;
  readonly type: MatrixType | GroupType;
  /** The share to keep; for a band, its start and end; 0 for zeroing. */
  readonly rho: number | readonly [from: number, to: number];
  /** In the notation of `lowrank laser --at`: `26:fc_in:0.01`. */
  readonly spec: string;
}

/** Returns a candidate's unique name: the spec, after the kind unless it is the paper's own. */
export function nameOfCandidate({ kind, spec }: Pick<Candidate, 'kind' | 'spec'>): string {
  return kind === DEFAULT_KIND ? spec : `${kind} ${spec}`;
}

/**
 * How interventions are combined: not at all, or from late to early layers as long as none hurts.
 */
export const COMPOSITIONS = ['greedy', 'none'] as const;
export type Composition = (typeof COMPOSITIONS)[number];

/**
 * The settings that determine a search's result. Equal settings have equal digests, and a search
 * can be resumed only with equal ones.
 */
export interface SearchSettings {
  /** The weight files by name, size and time, and their digest. */
  readonly source: { readonly path: string; readonly format: string; readonly digest: string };
  readonly family: string;
  readonly engine: string;
  /** Engine options that affect results, such as the program's command. */
  readonly engineOptions: unknown;
  readonly questions: {
    readonly validation: { readonly path: string; readonly digest: string; readonly count: number };
    readonly test:
      | {
          readonly path: string;
          readonly digest: string;
          readonly count: number;
          /** How many of them are also validation questions; undefined for none. */
          readonly shared?: number | undefined;
        }
      | undefined;
  };
  readonly objective: Objective;
  readonly candidates: readonly Candidate[];
  readonly compose: Composition;
  /**
   * The type to which quantised tensors of the grid were converted before the first trial;
   * undefined if there are none.
   */
  readonly quant?: WritableType | undefined;
  /** Whether weights that several places use were edited for all of them. */
  readonly shared?: boolean | undefined;
  readonly seed: number;
  /**
   * The rounds of a guided search: how many questions a candidate has been asked after each.
   * Undefined if every candidate of the grid was tried by itself.
   */
  readonly rounds?: readonly number[] | undefined;
  /** The probability that early stopping wrongly drops any candidate; undefined if it is off. */
  readonly earlyStopping: { readonly error: number; readonly first: number } | undefined;
  readonly generate: number | undefined;
  readonly compat: string | undefined;
}

/**
 * The criterion of the choice: `accuracy`, then log loss if accuracies are equal; or `perplexity`,
 * for texts.
 */
export const OBJECTIVES = ['accuracy', 'perplexity'] as const;
/**
 * The criterion of the choice.
 *
 * @useDeclaredType
 */
export type Objective = (typeof OBJECTIVES)[number];

export interface SearchHeader {
  readonly line: 'search';
  readonly version: 1;
  readonly lowrank: string;
  readonly digest: string;
  readonly settings: SearchSettings;
  /** ISO 8601. */
  readonly started: string;
  /** The command line, for the report; undefined if the search was called as a function. */
  readonly command: readonly string[] | undefined;
}

/** The sources of a decomposition. */
export const DECOMPOSITION_SOURCES = ['computed', 'disk'] as const;

/** A matrix was decomposed, or its decomposition was taken from the cache. */
export interface MatrixLine {
  readonly line: 'matrix';
  readonly tensor: string;
  /** Undefined for the whole tensor. */
  readonly slice: Slice | undefined;
  readonly layer: number;
  readonly type: MatrixType | GroupType;
  /** `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  /** All of them in descending order; for a batch one matrix after another. */
  readonly singularValues: readonly number[];
  readonly from: (typeof DECOMPOSITION_SOURCES)[number];
  readonly seconds: number;
}

/**
 * The figures of a model on some questions. Figures that the engine does not report are undefined.
 */
export interface Score {
  /** The number of questions. */
  readonly questions: number;
  /** The share of correct answers, 0 to 1. */
  readonly accuracy: number | undefined;
  /**
   * The mean over questions of the negative log-probability of the answer, per token, natural
   * logarithm.
   */
  readonly logLoss: number | undefined;
  /** Over the tokens of all answers or texts. */
  readonly perplexity: number | undefined;
}

/** The edit of one matrix. */
export interface TrialMatrix {
  readonly tensor: string;
  readonly slice: Slice | undefined;
  /** `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  /** How many of the min(m, n) components are kept; undefined for pruning and zeroing. */
  readonly rank: number | undefined;
  /**
   * ||W - What||_F / ||W||_F as written, after rounding to the stored type, measured in float64.
   */
  readonly relativeError: number;
  /** ||What||_F^2 / ||W||_F^2 as written. */
  readonly keptEnergy: number;
  /**
   * The smallest relative error of any matrix of this rank, from the discarded singular values
   * (Eckart and Young 1936); undefined unless the first components were kept.
   */
  readonly smallestError: number | undefined;
  /**
   * The number of places in the model that use the tensor; left out if the file does not show it,
   * or if it is one.
   */
  readonly uses?: number;
}

/** The ways in which a trial ends. */
export const VERDICTS = [
  /** All validation questions were asked. */
  'complete',
  /** Stopped: significantly worse than the best so far on the same questions. */
  'hopeless',
  /** Stopped: even with all other answers right it could not reach the best so far. */
  'behind',
  /** Stopped: in a guided search, a round ended with more candidates than its questions allow. */
  'outranked',
  /**
   * Not asked: some matrix could not be written, for example because a number is too large for its
   * type. `problem` has the reason.
   */
  'failed',
] as const;
/**
 * How a trial ended: `complete` if all validation questions were asked; `hopeless`, `behind` and
 * `outranked` if it was stopped; `failed` if some matrix could not be written.
 *
 * @useDeclaredType
 */
export type Verdict = (typeof VERDICTS)[number];

/** The verdicts of trials that were not asked everything. */
export const STOPPED: ReadonlySet<Verdict> = new Set(['hopeless', 'behind', 'outranked']);

/**
 * The answers of a candidate to the questions of one round of a guided search. Its trial follows
 * when it is stopped or has been asked all questions.
 */
export interface RoundLine {
  readonly line: 'round';
  /** From 1. */
  readonly round: number;
  /** The number of the candidate's trial. */
  readonly number: number;
  readonly matrices: readonly TrialMatrix[];
  /** Why it could not be asked. */
  readonly problem: string | undefined;
  /** As in {@link Trial}, only of the questions of this round, in the order of the rounds. */
  readonly outcomes: string;
  readonly losses: readonly (readonly [loss: number, tokens: number] | null)[];
  readonly seconds: Trial['seconds'];
}

/** The stages of a search. */
export const STAGES = ['base', 'grid', 'greedy'] as const;

/** One candidate tried on the validation questions; number 0 is the base, the unedited model. */
export interface Trial {
  readonly line: 'trial';
  readonly number: number;
  readonly stage: (typeof STAGES)[number];
  /** Undefined for the base. */
  readonly candidate: Candidate | undefined;
  /** In the greedy stage: the interventions already in the model. */
  readonly upon: readonly Candidate[];
  readonly matrices: readonly TrialMatrix[];
  readonly verdict: Verdict;
  readonly problem: string | undefined;
  /** On the questions that were asked. */
  readonly score: Score;
  /** The score minus that of the base on the same questions; zeros for the base. */
  readonly change: Omit<Score, 'questions'>;
  /** The number of the trial that it was compared with; undefined for the base. */
  readonly rival: number | undefined;
  /** In the greedy stage: whether it stays in the model. */
  readonly accepted: boolean | undefined;
  /**
   * For each validation question in the set's order: `1` right, `0` wrong, `-` not asked or not
   * reported.
   */
  readonly outcomes: string;
  /**
   * Only for the base, for each question: the negative log-probability per token, and the tokens;
   * null if not reported.
   */
  readonly losses: readonly (readonly [loss: number, tokens: number] | null)[] | undefined;
  /** The time to compute and write the matrices, and to ask the questions. */
  readonly seconds: { readonly edit: number; readonly evaluate: number };
}

/** The reasons why a search ends. */
export const ENDINGS = ['all tried', 'budget'] as const;

/**
 * The results of the test questions, asked once: of the base and of the winner. This line ends a
 * search.
 */
export interface TestLine {
  readonly line: 'test';
  /** The number of the trial that won on validation; 0 if the base won. */
  readonly winner: number;
  /** The winner's interventions; none if the base won. */
  readonly interventions: readonly Candidate[];
  readonly base: Score | undefined;
  /** Undefined if the base won or there are no test questions. */
  readonly edited: Score | undefined;
  /**
   * Edited minus base on the same questions, with intervals of a paired bootstrap. Empty if there
   * is nothing to compare.
   */
  readonly comparisons: readonly Comparison[];
  /**
   * 95 % intervals of the difference on validation as well; optimistic, since the winner was chosen
   * there.
   */
  readonly validation: readonly Comparison[];
  readonly counts: SearchCounts;
  readonly memory: { readonly peakRss: number; readonly nativePeak: number };
  /** Why the search ended. */
  readonly ended: (typeof ENDINGS)[number];
  readonly seconds: SearchSeconds;
}

/** The work of a search, over all its runs. */
export interface SearchCounts {
  /** The number of candidates tried, without the base. */
  readonly trials: number;
  /** How many of them were stopped early. */
  readonly stopped: number;
  /** Of these, those that a guided search stopped although they might have won. */
  readonly outranked?: number;
  /** The number of validation questions asked. */
  readonly asked: number;
  /** Decompositions that were computed, read from the disk, or in memory. */
  readonly svds: { readonly computed: number; readonly disk: number; readonly memory: number };
}

/** Wall time over all runs. */
export interface SearchSeconds {
  readonly svd: number;
  readonly edit: number;
  readonly evaluate: number;
  readonly test: number;
  readonly total: number;
}

/** `summary.json`: the results without the trials. */
export interface SearchSummary extends Omit<TestLine, 'line'> {
  readonly settings: Omit<SearchSettings, 'candidates'>;
  readonly command: readonly string[] | undefined;
  /** The validation score of the base, and of the winner. */
  readonly baseTrial: Trial;
  readonly winnerTrial: Trial;
  /** The best trial of the grid, from which greedy composition starts. */
  readonly gridTrial: Trial;
  /** The greedy stage in order; empty without composition. */
  readonly greedy: readonly { readonly candidate: Candidate; readonly accepted: boolean; readonly verdict: Verdict }[];
  /** The path of the edited model; undefined if the base won. */
  readonly model: string | undefined;
}
