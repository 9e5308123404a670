import type { Comparison } from '../evaluate/metrics/summary.js';
import { DEFAULT_KIND, type InterventionKind } from '../interventions/kinds/kinds.js';
import type { GroupType, MatrixType } from '../model/types.js';
import type { WritableType } from '../tensor/dtype.js';
import type { Slice } from '../tensor/slice.js';

/**
 * What a search writes down while it runs, and all that a report of it needs. `trials.jsonl` in the output folder is one
 * {@link SearchLine} a line: the header first, then matrices and trials as they come, at the end the test.
 *
 * Numbers that JSON lacks stand in the file as `{ "$number": "Infinity" }`; `readSearchLog` gives them back as numbers.
 */
export type SearchLine = SearchHeader | MatrixLine | Trial | TestLine;

/** One intervention that competes. */
export interface Candidate {
  readonly kind: InterventionKind;
  readonly layer: number;
  readonly type: MatrixType | GroupType;
  /** The share that is kept; of a band, where it begins and ends; 0 for zeroing. */
  readonly rho: number | readonly [from: number, to: number];
  /** As `lowrank laser --at` takes it: `26:fc_in:0.01`. */
  readonly spec: string;
}

/** A candidate's name, which tells two of them apart: the kind stands before the spec unless it is the paper's own. */
export function nameOfCandidate({ kind, spec }: Pick<Candidate, 'kind' | 'spec'>): string {
  return kind === DEFAULT_KIND ? spec : `${kind} ${spec}`;
}

/** How interventions are combined: not at all, or from late to early layers as long as none hurts. */
export const COMPOSITIONS = ['greedy', 'none'] as const;
export type Composition = (typeof COMPOSITIONS)[number];

/** What decides a search's result; equal settings have equal digests, and only those can be gone on with. */
export interface SearchSettings {
  /** The weight files by name, size and time, and what they hold. */
  readonly source: { readonly path: string; readonly format: string; readonly digest: string };
  readonly family: string;
  readonly engine: string;
  /** What the engine was told, such as the program's command. */
  readonly engineOptions: unknown;
  readonly questions: {
    readonly validation: { readonly path: string; readonly digest: string; readonly count: number };
    readonly test:
      | {
          readonly path: string;
          readonly digest: string;
          readonly count: number;
          /** How many of them stand among the validation questions too; undefined for none. */
          readonly shared?: number | undefined;
        }
      | undefined;
  };
  readonly objective: Objective;
  readonly candidates: readonly Candidate[];
  readonly compose: Composition;
  /** What quantised tensors of the grid were turned into before the first trial; undefined where there are none. */
  readonly quant?: WritableType | undefined;
  /** Whether weights that several places use were edited for all of them. */
  readonly shared?: boolean | undefined;
  readonly seed: number;
  /** The probability with which early stopping may drop any candidate that it should not; undefined where it is off. */
  readonly earlyStopping: { readonly error: number; readonly first: number } | undefined;
  readonly generate: number | undefined;
  readonly compat: string | undefined;
}

/**
 * What is chosen by: `accuracy`, then log loss where accuracies are equal; or `perplexity`, of texts.
 */
export const OBJECTIVES = ['accuracy', 'perplexity'] as const;
/**
 * What is chosen by.
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
  /** The command that was typed, for the report; undefined when the search was called as a function. */
  readonly command: readonly string[] | undefined;
}

/** Where a decomposition came from. */
export const DECOMPOSITION_SOURCES = ['computed', 'disk'] as const;

/** A matrix was decomposed, or its decomposition taken from the cache. */
export interface MatrixLine {
  readonly line: 'matrix';
  readonly tensor: string;
  /** Undefined for the whole tensor. */
  readonly slice: Slice | undefined;
  readonly layer: number;
  readonly type: MatrixType | GroupType;
  /** `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  /** All, descending; of a batch those of its matrices one after another. */
  readonly singularValues: readonly number[];
  readonly from: (typeof DECOMPOSITION_SOURCES)[number];
  readonly seconds: number;
}

/** The values of a model on some questions. What the engine does not tell is undefined. */
export interface Score {
  /** How many questions. */
  readonly questions: number;
  /** Share of correct answers, 0 to 1. */
  readonly accuracy: number | undefined;
  /** Mean over questions of the negative log-probability of the answer, per token, natural logarithm. */
  readonly logLoss: number | undefined;
  /** Of all answers' or texts' tokens. */
  readonly perplexity: number | undefined;
}

/** What was done to one matrix. */
export interface TrialMatrix {
  readonly tensor: string;
  readonly slice: Slice | undefined;
  /** `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  /** Components that stay, of min(m, n); undefined for pruning and zeroing. */
  readonly rank: number | undefined;
  /** ||W - What||_F / ||W||_F of what was written, after rounding to the stored type, measured in float64. */
  readonly relativeError: number;
  /** ||What||_F^2 / ||W||_F^2 of what was written. */
  readonly keptEnergy: number;
  /**
   * The smallest relative error that any matrix of this rank has, from the discarded singular values (Eckart and Young
   * 1936); undefined unless the first components were kept.
   */
  readonly smallestError: number | undefined;
  /** How many places of the model use the tensor; left out where the file does not tell, or one does. */
  readonly uses?: number;
}

/** How a trial ended. */
export const VERDICTS = [
  /** All validation questions were asked. */
  'complete',
  /** Stopped: significantly worse than the best so far on the same questions. */
  'hopeless',
  /** Stopped: even with all other questions right it could not come up to the best so far. */
  'behind',
  /** Not asked at all: some matrix could not be written, such as a number too large for its type. `problem` says why. */
  'failed',
] as const;
/**
 * How a trial ended: `complete` when all validation questions were asked; `hopeless` and `behind` when it was stopped;
 * `failed` when some matrix could not be written.
 *
 * @useDeclaredType
 */
export type Verdict = (typeof VERDICTS)[number];

/** What a trial is part of. */
export const STAGES = ['base', 'grid', 'greedy'] as const;

/** One candidate tried on the validation questions; number 0 is the base, the model as it is. */
export interface Trial {
  readonly line: 'trial';
  readonly number: number;
  readonly stage: (typeof STAGES)[number];
  /** Undefined for the base. */
  readonly candidate: Candidate | undefined;
  /** In the greedy stage: the interventions that were in the model already. */
  readonly upon: readonly Candidate[];
  readonly matrices: readonly TrialMatrix[];
  readonly verdict: Verdict;
  readonly problem: string | undefined;
  /** On the questions that were asked. */
  readonly score: Score;
  /** The score less that of the base on the same questions; zeros for the base. */
  readonly change: Omit<Score, 'questions'>;
  /** The trial that it was measured against, by number; undefined for the base. */
  readonly rival: number | undefined;
  /** In the greedy stage: whether it stays in the model. */
  readonly accepted: boolean | undefined;
  /** For each validation question in the set's order: `1` right, `0` wrong, `-` not asked or not told. */
  readonly outcomes: string;
  /** For each question, of the base alone: the negative log-probability a token, and the tokens; null where not told. */
  readonly losses: readonly (readonly [loss: number, tokens: number] | null)[] | undefined;
  /** Making and writing the matrices; asking the questions. */
  readonly seconds: { readonly edit: number; readonly evaluate: number };
}

/** Why a search ended. */
export const ENDINGS = ['all tried', 'budget'] as const;

/** The test questions, asked once: of the base and of the winner. With it a search is closed. */
export interface TestLine {
  readonly line: 'test';
  /** The trial that won on validation, by number; 0 where the base did. */
  readonly winner: number;
  /** The winner's interventions; none where the base won. */
  readonly interventions: readonly Candidate[];
  readonly base: Score | undefined;
  /** Undefined where the base won or there are no test questions. */
  readonly edited: Score | undefined;
  /** Edited minus base on the same questions, with intervals of a paired bootstrap. Empty where there is nothing to compare. */
  readonly comparisons: readonly Comparison[];
  /** 95 % intervals of the difference on validation too; optimistic, since the winner was chosen there. */
  readonly validation: readonly Comparison[];
  readonly counts: SearchCounts;
  readonly memory: { readonly peakRss: number; readonly nativePeak: number };
  /** Why the search ended. */
  readonly ended: (typeof ENDINGS)[number];
  readonly seconds: SearchSeconds;
}

/** What a search did, over all its runs. */
export interface SearchCounts {
  /** Candidates tried, the base not counted. */
  readonly trials: number;
  /** Those of them that were stopped early. */
  readonly stopped: number;
  /** Questions asked on validation. */
  readonly asked: number;
  /** Decompositions computed; taken from the disk; taken from memory. */
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

/** `summary.json`: what came out, without the trials. */
export interface SearchSummary extends Omit<TestLine, 'line'> {
  readonly settings: Omit<SearchSettings, 'candidates'>;
  readonly command: readonly string[] | undefined;
  /** The validation score of the base, and of the winner. */
  readonly baseTrial: Trial;
  readonly winnerTrial: Trial;
  /** The best of the grid, which greedy composition starts from. */
  readonly gridTrial: Trial;
  /** The greedy stage in order; empty without composition. */
  readonly greedy: readonly { readonly candidate: Candidate; readonly accepted: boolean; readonly verdict: Verdict }[];
  /** Where the edited model was written; undefined where the base won. */
  readonly model: string | undefined;
}
