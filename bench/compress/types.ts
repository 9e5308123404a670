// What bench:compress measures and writes, for the JSDoc of its scripts.

export type ModelName = 'minilm-legacy' | 'minilm-dynamo' | 'smollm2' | 'babyllama';
export type Storage = 'pivoted' | 'factors';

export interface Case {
  readonly name: ModelName;
  readonly title: string;
  readonly kind: 'sentences' | 'passages';
  /** The most tokens of a text. */
  readonly length: number;
  /** The number of texts of the calibration. */
  readonly calibration: number;
  /** The figure of `lowrank compare` that is judged; of `perplexity`, its ratio to the original's. */
  readonly figure: 'cosine' | 'perplexity' | 'agreement';
  readonly budgets: readonly { readonly keep: number; readonly target: number }[];
  /** The most seconds that compressing may take. */
  readonly seconds?: number;
  /** The most that calibrating may take, in times of the plain runs. */
  readonly forwards?: number | undefined;
  /** The most that a run may take, in times of the original's, by batch and length. */
  readonly latency?: { readonly keep: number; readonly targets: Readonly<Record<string, number>> } | undefined;
}

/** A value of `lowrank compare`. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** What is read of the document of `lowrank compare --json`. */
export interface ComparedModel {
  readonly bytes: number;
  readonly cosine?: Estimate;
  readonly perplexity?: Estimate;
  readonly divergence?: Estimate;
  readonly agreement?: Estimate;
  readonly rankCorrelation?: Estimate;
  readonly latency: readonly {
    readonly kind: string;
    readonly batch: number;
    readonly length: number;
    readonly milliseconds: Estimate;
    readonly relative?: Estimate;
  }[];
}

/** One compressed model. */
export interface Row {
  readonly keep: number;
  readonly storage: Storage;
  readonly target: number;
  /** The figure of the case. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly bytes: number;
  /** What `compress` took, and by what it chose ranks. */
  readonly seconds: number;
  readonly weighting: string;
  readonly factored: number;
  readonly layers: number;
  readonly others: Readonly<Record<string, number>>;
}

export interface Latency {
  readonly storage: Storage;
  readonly shape: string;
  readonly milliseconds: number;
  readonly relative: number;
  readonly target: number;
}

export interface CaseResult extends Omit<Case, 'latency'> {
  /** Why it was not measured. */
  readonly absent?: string;
  /** Whether half of the held-out sentences are of another kind than the calibration. */
  readonly otherDomain?: boolean;
  readonly bytes?: number;
  /** The original's own perplexity. */
  readonly perplexity?: number;
  readonly tokens?: number;
  readonly calibrationSeconds?: number;
  readonly plainSeconds?: number;
  readonly vectors?: number;
  readonly rows: readonly Row[];
  readonly latency: readonly Latency[];
}

/** When and where a model was measured. */
export interface About {
  readonly date: string;
  readonly minutes: number;
  readonly machine: ReturnType<typeof import('../machine.mjs').machine>;
  /** The kernels of OpenBLAS and lowrank. */
  readonly path: string;
  readonly threads: number;
  readonly versions: Readonly<Record<string, string>>;
  /** The share of the machine that other work took before. */
  readonly busy: number;
}

export interface Measured extends CaseResult {
  readonly about: About;
}

/** How a model is stored in few bits by Python's onnxruntime. */
export interface Baseline {
  readonly name: string;
  /** What `baselines.py` is given. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly scope: Scope;
}

/** Whether the linear layers alone are stored in few bits, or embeddings too. */
export type Scope = 'layers' | 'file';

/** What `compress` is asked for, and what should be reached. */
export type BitsBudget = { readonly scope: Scope } & (
  | {
      /** Options of `compress`. */
      readonly options: readonly string[];
      readonly target: number;
      /** The most bytes of the file. */
      readonly most?: number;
    }
  | {
      /** The baseline whose size is the budget, and of whose figure the target is a share. */
      readonly like: string;
      readonly share: number;
    }
);

export interface BitsCase {
  readonly name: 'minilm-bits' | 'babyllama-bits' | 'smollm2-bits';
  readonly model: ModelName;
  readonly title: string;
  readonly kind: Case['kind'];
  readonly length: number;
  readonly calibration: number;
  readonly figure: 'cosine' | 'divergence';
  readonly budgets: readonly BitsBudget[];
  readonly baselines: readonly Baseline[];
  /** Whether runs are timed. */
  readonly timed?: boolean;
  /** The names of the rows of a chart in docs/, named after the case. */
  readonly chart?: readonly string[];
  readonly note?: string;
}

/** One model in few bits, by lowrank or by a baseline. */
export interface BitsRow {
  readonly by: string;
  readonly ours: boolean;
  readonly scope: Scope;
  /** Why it is not there. */
  readonly absent?: string;
  /** Bits a weight of the linear layers, with all that takes their place. */
  readonly bits: number;
  readonly bytes: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly target?: number;
  readonly most?: number;
  readonly seconds: number;
  /** In times of the original's runs, by batch and length. */
  readonly latency: Readonly<Record<string, number>>;
}

export interface BitsResult extends BitsCase {
  /** Why it was not measured. */
  readonly absent?: string;
  readonly bytes: number;
  readonly tokens: number;
  readonly calibrationSeconds: number;
  /** Milliseconds of the original's runs, by batch and length. */
  readonly milliseconds: Readonly<Record<string, number>>;
  readonly rows: readonly BitsRow[];
}

export interface MeasuredBits extends BitsResult {
  readonly about: About;
}
