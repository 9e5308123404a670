import type { InterventionKind } from '../../lib/interventions/kinds/kinds.js';
import type {
  Candidate,
  MatrixLine,
  SearchHeader,
  SearchLine,
  TestLine,
  Trial,
  TrialMatrix,
} from '../../lib/search/log-lines.js';

export type Log = readonly [SearchHeader, ...SearchLine[]];

export interface MadeOptions {
  readonly layers?: number;
  readonly types?: readonly Candidate['type'][];
  readonly rhos?: readonly number[];
  readonly kind?: InterventionKind;
  /** How many of the grid's candidates were tried; all unless given. */
  readonly tried?: number;
  readonly objective?: 'accuracy' | 'perplexity';
  /** Interventions that greedy composition adds to the best, and one that it takes back. */
  readonly composed?: boolean;
  readonly finished?: boolean;
  readonly tensor?: (candidate: Candidate) => string;
  readonly command?: readonly string[] | undefined;
  readonly source?: string;
  readonly quant?: 'Q8_0';
  /** min(m, n) of all matrices. */
  readonly size?: number;
}

const RHOS = [0.005, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9];
const QUESTIONS = 400;

/** A log as a search writes it, of numbers that look like a search's and are the same each time. */
export function madeLog(options: MadeOptions = {}): Log {
  const {
    layers = 2,
    types = ['fc_in', 'fc_out'],
    rhos = RHOS,
    kind = 'rank-reduction',
    objective = 'accuracy',
  } = options;
  const { composed = true, finished = true, size = 128 } = options;
  const { tensor = ({ layer, type }: Candidate) => `blk.${layer}.${type}.weight` } = options;
  const candidates = Array.from({ length: layers }, (_, i) => layers - 1 - i).flatMap((layer) =>
    types.flatMap((type) =>
      rhos.map((rho): Candidate => ({ kind, layer, type, rho, spec: `${layer}:${type}:${rho}` })),
    ),
  );
  const header = headerOf(candidates, options);
  const lines: SearchLine[] = [];
  const seen = new Set<string>();
  const trial = (number: number, candidate: Candidate | undefined, more: Partial<Trial> = {}): Trial => {
    const rank = candidate && Math.floor((candidate.rho as number) * size);
    const matrices: TrialMatrix[] = candidate === undefined ? [] : [matrixOf(tensor(candidate), rank!, size)];
    if (candidate && !seen.has(tensor(candidate))) {
      seen.add(tensor(candidate));
      lines.push(decomposed(candidate, tensor(candidate), size, seen.size));
    }
    const wave = Math.sin(number * 2.3);
    const stopped = candidate !== undefined && number % 3 !== 1 && more.stage !== 'greedy';
    const gain = candidate === undefined ? 0 : more.accepted ? 0.59 : number === 2 ? 0.5875 : 0.3 * wave - 0.1;
    const score =
      objective === 'accuracy'
        ? { accuracy: 0.4 + gain, logLoss: 0.7 - gain, perplexity: 2 - gain }
        : { accuracy: undefined, logLoss: 3 - gain, perplexity: Math.exp(3 - 4 * gain) };
    const isStopped = stopped && number !== 2;
    return {
      line: 'trial',
      number,
      stage: candidate === undefined ? 'base' : 'grid',
      candidate,
      upon: [],
      matrices,
      verdict: isStopped ? 'behind' : 'complete',
      problem: undefined,
      score: { questions: isStopped ? 32 : QUESTIONS, ...score },
      change: {
        accuracy: objective === 'accuracy' ? gain : undefined,
        logLoss: -gain,
        perplexity: score.perplexity - (objective === 'accuracy' ? 2 : Math.exp(3)),
      },
      rival: candidate === undefined ? undefined : 0,
      accepted: undefined,
      outcomes: outcomesOf(score.accuracy, isStopped ? 32 : QUESTIONS),
      losses: undefined,
      seconds: { edit: 0.012, evaluate: 0.734 },
      ...more,
    };
  };
  lines.push(trial(0, undefined));
  const tried = candidates.slice(0, options.tried ?? candidates.length);
  for (const [i, candidate] of tried.entries()) lines.push(trial(i + 1, candidate));
  const first = candidates[1]!;
  let interventions = tried.length >= 2 ? [first] : [];
  let winner = interventions.length > 0 ? 2 : 0;
  if (composed && tried.length === candidates.length && types.length > 1 && rhos.length > 1) {
    // Of the matrix that the best of the grid is not about, in the grid's order.
    const at = candidates.length + rhos.length + 1;
    const [second, third] = [candidates[rhos.length + 1]!, candidates[rhos.length]!];
    const stage = { stage: 'greedy', upon: interventions } as const;
    lines.push(trial(at, third, { ...stage, rival: 2, accepted: false, verdict: 'hopeless' }));
    lines.push(trial(at + 1, second, { ...stage, rival: 2, accepted: true }));
    interventions = [first, second];
    winner = at + 1;
  }
  if (finished) lines.push(tested(winner, interventions, objective));
  return [header, ...lines];
}

/** Answers with about this accuracy, of which a better model has all that a worse one has. */
function outcomesOf(accuracy: number | undefined, asked: number): string {
  return Array.from({ length: QUESTIONS }, (_, i) => {
    if (accuracy === undefined || i >= asked) return '-';
    return (i * 61) % QUESTIONS < accuracy * QUESTIONS ? '1' : '0';
  }).join('');
}

function headerOf(candidates: readonly Candidate[], options: MadeOptions): SearchHeader {
  const { source = '/models/example/model.gguf', objective = 'accuracy' } = options;
  const digest = '0b911352139516702d0e577f3cce71f17f2ef1af741ffe8f79055d6be2b928c2';
  return {
    line: 'search',
    version: 1,
    lowrank: '0.1.0',
    digest,
    started: '2026-01-02T03:04:05.678Z',
    command:
      'command' in options
        ? options.command
        : ['lowrank', 'search', source, '--dataset', 'my questions.jsonl', '-o', 'found', '--compose', 'greedy'],
    settings: {
      source: { path: source, format: 'gguf', digest },
      family: 'gpt2',
      engine: 'llama',
      engineOptions: {},
      objective,
      candidates,
      compose: 'greedy',
      seed: 0,
      questions: {
        validation: { path: 'my questions.jsonl', digest, count: QUESTIONS },
        test: { path: 'test.jsonl', digest, count: 1000 },
      },
      earlyStopping: { error: 0.05, first: 32 },
      generate: undefined,
      compat: undefined,
      quant: options.quant,
    },
  };
}

function decomposed(candidate: Candidate, tensor: string, size: number, seed: number): MatrixLine {
  const singularValues = Array.from({ length: size }, (_, i) => 6 * (i + 1) ** -(0.3 + 0.1 * (seed % 4)) + 0.3);
  const { layer, type } = candidate;
  return {
    line: 'matrix',
    tensor,
    slice: undefined,
    layer,
    type,
    shape: [4 * size, size],
    singularValues,
    from: 'computed',
    seconds: 0.085,
  };
}

function matrixOf(tensor: string, rank: number, size: number): TrialMatrix {
  const smallestError = Math.sqrt(1 - rank / size);
  return {
    tensor,
    slice: undefined,
    shape: [4 * size, size],
    rank,
    keptEnergy: rank / size,
    smallestError,
    relativeError: smallestError * (1 + 1e-8),
  };
}

function tested(winner: number, interventions: readonly Candidate[], objective: 'accuracy' | 'perplexity'): TestLine {
  const won = interventions.length > 0;
  const first = { low: 0.607, difference: 0.637, high: 0.667 };
  const less = { low: -0.617, difference: -0.613, high: -0.608 };
  return {
    line: 'test',
    winner,
    interventions,
    base: {
      questions: 1000,
      accuracy: objective === 'accuracy' ? 0.363 : undefined,
      logLoss: 0.702,
      perplexity: 2.017,
    },
    edited: won
      ? { questions: 1000, accuracy: objective === 'accuracy' ? 1 : undefined, logLoss: 0.089, perplexity: 1.093 }
      : undefined,
    comparisons: won
      ? [
          { metric: objective, ...(objective === 'accuracy' ? first : less), pairs: 1000, better: 1 },
          { metric: 'logLoss', ...less, pairs: 1000, better: 1 },
        ]
      : [],
    validation: won ? [{ metric: 'accuracy', difference: 0.01, low: -0.02, high: 0.04, pairs: 400, better: 0.7 }] : [],
    counts: { trials: 36, stopped: 24, asked: 6272, svds: { computed: 4, disk: 0, memory: 53 } },
    memory: { peakRss: 187_600_896, nativePeak: 531_968 },
    ended: 'all tried',
    seconds: { svd: 0.34, edit: 0.703, evaluate: 41.487, test: 18.38, total: 60.91 },
  };
}
