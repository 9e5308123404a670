import { LowRankError } from '../../errors.js';
import type { Divergence, Outputs, TextLikelihood } from '../engines/engine.js';
import type { TokenSession } from '../engines/token-session.js';
import { type BootstrapOptions, bootstrap, interval } from '../metrics/bootstrap.js';
import { cosine, PairedSimilarities } from '../metrics/similarity.js';
import type { Estimate } from '../metrics/summary.js';

/**
 * The maximum number of texts whose pairs are compared: the number of pairs grows with its square.
 */
const MOST_PAIRED = 256;

/** The kinds of output that a model can have. */
export const OUTPUT_KINDS = ['causal', 'masked', 'labels', 'embedding'] as const;
/**
 * The kind of output of a model.
 *
 * @useDeclaredType
 */
export type OutputKind = (typeof OUTPUT_KINDS)[number];

/** The quality of a model's outputs on some texts. Figures that do not apply are undefined. */
export interface Quality {
  /** Causal models: exp of the negative mean log-probability of the tokens. */
  readonly perplexity?: Estimate | undefined;
  /** Models with logits: mean KL(original || candidate) in nats; undefined for the original. */
  readonly divergence?: Estimate | undefined;
  /** Models with logits: share of positions with the same most likely token as the original. */
  readonly agreement?: Estimate | undefined;
  /** Models with embeddings: mean cosine similarity to the original's. */
  readonly cosine?: Estimate | undefined;
  /**
   * Models with embeddings: Spearman's correlation, between candidate and original, of the cosine
   * similarities of all pairs of the first 256 texts.
   */
  readonly rankCorrelation?: Estimate | undefined;
}

/**
 * Determines the kind of output of the first model, and checks that all others return the same.
 *
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` if one does not.
 */
export async function outputKind(sessions: readonly TokenSession[], tokens: readonly number[]): Promise<OutputKind> {
  const [original, ...candidates] = sessions as [TokenSession, ...TokenSession[]];
  const expected = await original.model.outputs(tokens);
  for (const { model, checkpoint } of candidates) {
    const found = await model.outputs(tokens);
    if (describeOutputs(found) === describeOutputs(expected) && model.kind === original.model.kind) continue;
    const [its, theirs] = [describeOutputs(found), describeOutputs(expected)];
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `${checkpoint}: returns ${its} (${model.kind}), but ${original.checkpoint} returns ${theirs} (${original.model.kind})`,
      { hint: 'Compare models with the same vocabulary and task.' },
    );
  }
  if (expected.kind === 'embedding') return 'embedding';
  return expected.rows === tokens.length ? original.model.kind : 'labels';
}

function describeOutputs({ kind, rows, size }: Outputs): string {
  return `${kind} of ${rows} x ${size}`;
}

/**
 * Runs all models on all sequences, one at a time, and compares each with the first model.
 *
 * @returns the quality of each model, in order
 * @throws {@link LowRankError} `ERR_NOT_FINITE` if an output has a NaN.
 */
export async function qualityOf(
  sessions: readonly TokenSession[],
  kind: OutputKind,
  sequences: readonly (readonly number[])[],
  draw: BootstrapOptions,
  onSequence: () => void,
): Promise<Quality[]> {
  const [original, ...candidates] = sessions as [TokenSession, ...TokenSession[]];
  const texts: TextLikelihood[] = [];
  const divergences = candidates.map((): Divergence[] => []);
  const embeddings = sessions.map((): Float32Array[] => []);
  for (const tokens of sequences) {
    draw.signal?.throwIfAborted();
    const expected = await original.model.outputs(tokens);
    texts.push(
      finite(original, expected.text, expected.text.logProb + (expected.kind === 'embedding' ? sum(expected.data) : 0)),
    );
    if (kind === 'embedding') embeddings[0]!.push(expected.data);
    for (const [i, candidate] of candidates.entries()) {
      draw.signal?.throwIfAborted();
      if (kind === 'embedding') {
        const { data } = await candidate.model.outputs(tokens);
        embeddings[i + 1]!.push(finite(candidate, data, sum(data)));
      } else {
        const divergence = await candidate.model.diverge(tokens, expected);
        divergences[i]!.push(finite(candidate, divergence, divergence.kl + divergence.text.logProb));
      }
    }
    onSequence();
  }
  const results: Quality[] = [kind === 'causal' ? { perplexity: await perplexity(texts, draw) } : {}];
  for (const i of candidates.keys()) {
    results.push(
      kind === 'embedding'
        ? await ofEmbeddings(embeddings[0]!, embeddings[i + 1]!, draw)
        : await ofLogits(divergences[i]!, kind, draw),
    );
  }
  return results;
}

async function ofLogits(found: readonly Divergence[], kind: OutputKind, draw: BootstrapOptions): Promise<Quality> {
  const rows = found.map((text) => text.rows);
  return {
    ...(kind === 'causal'
      ? {
          perplexity: await perplexity(
            found.map(({ text }) => text),
            draw,
          ),
        }
      : {}),
    divergence: await ratio(
      found.map(({ kl }) => kl),
      rows,
      draw,
    ),
    agreement: await ratio(
      found.map(({ agreed }) => agreed),
      rows,
      draw,
    ),
  };
}

async function ofEmbeddings(
  x: readonly Float32Array[],
  y: readonly Float32Array[],
  draw: BootstrapOptions,
): Promise<Quality> {
  const cosines = x.map((vector, i) => cosine(vector, y[i]!));
  const count = Math.min(x.length, MOST_PAIRED);
  const pairs = new PairedSimilarities(x.slice(0, count), y.slice(0, count));
  const correlation = pairs.correlation();
  return {
    cosine: await ratio(
      cosines,
      cosines.map(() => 1),
      draw,
    ),
    rankCorrelation: Number.isNaN(correlation)
      ? undefined
      : await estimate(count, (drawn) => pairs.correlation(drawn), draw),
  };
}

function perplexity(texts: readonly TextLikelihood[], draw: BootstrapOptions): Promise<Estimate> {
  const logProbs = texts.map(({ logProb }) => logProb);
  return ratio(
    logProbs,
    texts.map(({ tokens }) => tokens),
    draw,
    (mean) => Math.exp(-mean),
  );
}

/**
 * Estimates sum(numerators) / sum(denominators), with one of each for a text; draws whole texts.
 */
function ratio(
  numerators: readonly number[],
  denominators: readonly number[],
  draw: BootstrapOptions,
  finish: (mean: number) => number = Number,
): Promise<Estimate> {
  const statistic = (drawn: Uint32Array | undefined) => {
    let [numerator, denominator] = [0, 0];
    for (let i = 0; i < numerators.length; i++) {
      const times = drawn?.[i] ?? 1;
      numerator += times * numerators[i]!;
      denominator += times * denominators[i]!;
    }
    return finish(numerator / denominator);
  };
  return estimate(numerators.length, statistic, draw);
}

/**
 * Computes a statistic of `count` items, and its bootstrap interval.
 *
 * @param statistic gets how often each item was drawn; undefined if each counts once
 */
export async function estimate(
  count: number,
  statistic: (drawn: Uint32Array | undefined) => number,
  draw: BootstrapOptions,
): Promise<Estimate> {
  const draws = await bootstrap<number>(count, statistic, draw);
  return { value: statistic(undefined), ...interval(draws, draw.level), examples: count };
}

function sum(values: Float32Array): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Returns `result`, unless `total` is NaN, as it is if the output has a NaN. */
function finite<T>({ checkpoint }: TokenSession, result: T, total: number): T {
  if (!Number.isNaN(total)) return result;
  throw new LowRankError('ERR_NOT_FINITE', `${checkpoint}: its output for a text is not a number`, {
    hint: 'The model is broken, or overflows in float16.',
  });
}
