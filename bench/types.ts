// What the bench measures and writes, for the JSDoc of its scripts.

/** An input and a rank, or a product of matrices. */
export interface Task {
  readonly id: string;
  /**
   * `energy` is `laser` with the rank chosen by a share of the energy; `values` asks for the singular values only;
   * `layer` is `laser` of several matrices of different shapes.
   */
  readonly op: 'gemm' | 'laser' | 'energy' | 'values' | 'layer';
  /** A key of KINDS, or `gemm`. */
  readonly kind: string;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly rho?: number;
  /** The matrices of `layer`, and their ranks; m, n and k are those of the first. */
  readonly shapes?: readonly (readonly [number, number])[];
  readonly ranks?: readonly number[];
  /** The share of the sum of squared singular values to keep, which chooses the rank. */
  readonly energy?: number;
  /** Compared with two passes over W and the rebuild. */
  readonly bound?: boolean;
  /** Run by every contender, however long it takes. */
  readonly complete?: boolean;
  /** A point of the growth curves. */
  readonly curve?: boolean;
  readonly weights?: { readonly file: string; readonly name: string };
  readonly tensors?: readonly string[];
  /** Why it cannot be measured. */
  readonly absent?: string;
}

export interface Contender {
  readonly name: string;
  readonly op: Task['op'];
  /** Program and arguments for a task in JSON. */
  readonly command: (task: string) => string[];
  /** Why it does not run a task, or false. */
  readonly leftOut?: (task: Task) => string | false;
  /** Why it cannot run at all. */
  readonly absent?: string;
}

/** One contender's answers; the process that serves it follows contenders/serve.mjs. */
export interface Answer {
  readonly versions: Versions;
  readonly baseRss: number;
  readonly absent?: string;
  readonly seconds: number;
  readonly peakRss: number;
  readonly note?: string;
}

export type Versions = Record<string, string>;

/** One contender on one task. */
export interface Row {
  contender: string;
  status?: 'measured' | 'absent' | 'left out' | 'failed';
  reason?: string;
  /** The median of the rounds. */
  seconds?: number;
  rounds?: number[];
  warmUp?: boolean;
  baseRss?: number;
  peakRss?: number;
  note?: string;
  relativeError?: number;
  excess?: number;
  /** Seconds over those of lowrank. */
  ratio?: number;
}

export type MeasuredRow = Row & Required<Pick<Row, 'seconds' | 'rounds' | 'baseRss' | 'peakRss' | 'relativeError'>>;

export interface Bound {
  readonly seconds: number;
  readonly gigaflops: number;
  readonly measuredBy: string;
  /** Seconds of lowrank over the bound. */
  readonly ratio: number;
}

export interface Result extends Omit<Task, 'bound' | 'complete' | 'curve' | 'weights'> {
  /** The name of the weights. */
  readonly weights?: string;
  readonly rank?: number;
  readonly optimum?: { readonly k: number; readonly relativeError: number; readonly from: string };
  readonly rows: Row[];
  bound?: Bound;
  /** The share of the machine that other work took. */
  readonly busy?: number;
}

/** How one task compares with a target. */
export interface Verdict {
  readonly task: string;
  readonly against: string;
  readonly atLeast?: number;
  readonly within?: number;
  readonly measured?: number;
  readonly excess?: number;
  readonly verdict: string;
}

/** A file of results. */
export interface Run<R = Result> {
  readonly date: string;
  readonly command: string;
  readonly minutes: number;
  readonly machine: ReturnType<typeof import('./machine.mjs').machine>;
  readonly threads: number;
  readonly rounds: number;
  readonly versions: Record<string, Versions>;
  readonly targets?: readonly Verdict[];
  readonly results: readonly R[];
}

export interface LoraTask {
  readonly id: string;
  readonly op: 'step' | 'adamw' | 'resize';
  readonly dim: number;
  readonly r: number;
  readonly batch?: number;
  readonly to?: number;
}

export interface LoraRival {
  readonly name: string;
  readonly variant: string;
  /** The target: how many times the seconds of lowrank it should take. */
  readonly atLeast?: number;
}

export interface LoraRow {
  readonly contender: string;
  readonly seconds: number;
  readonly rounds: readonly number[];
  readonly ratio: number;
  readonly atLeast?: number;
}

export interface LoraResult extends LoraTask {
  readonly busy: number;
  readonly rows: readonly LoraRow[];
}

/** Seconds and bytes of one round of the checkpoint bench. */
export interface CheckpointRound {
  readonly cp: number;
  readonly cpSynced: number;
  readonly laser: number;
  readonly svd: number;
  readonly peak: number;
  readonly predicted: number;
}

export interface CheckpointRow extends CheckpointRound {
  readonly bytes: number;
  readonly ratio: number;
  readonly rounds: readonly CheckpointRound[];
}

export interface CheckpointRun {
  readonly date: string;
  /** The vector instructions that lowrank used. */
  readonly path: string;
  readonly at: string;
  readonly largest: number;
  readonly machine: Run['machine'];
  readonly rows: readonly CheckpointRow[];
}

/** What a module of contenders/ exports: a prepared call, and how to read its result. */
export interface Prepared<T = unknown> {
  readonly run: () => T | Promise<T>;
  readonly numbers: (result: T) => Float32Array;
  readonly note?: (result: T) => string;
}

/** The sizes that a contender is given. */
export interface Sizes {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly energy?: number;
  readonly shapes?: readonly [number, number][];
  readonly ranks?: readonly number[];
  readonly threads: number;
}
