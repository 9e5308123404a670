import { LowRankError } from '../../errors.js';
import type { Divergence, Outputs, TextLikelihood } from '../engines/engine.js';
import type { TokenSession } from '../engines/token-session.js';
import { type BootstrapOptions, bootstrap, interval } from '../metrics/bootstrap.js';
import { cosine, PairedSimilarities } from '../metrics/similarity.js';
import type { Estimate } from '../metrics/summary.js';

/** The most texts whose pairs are compared: their number grows with the square. */
const MOST_PAIRED = 256;

/** What the outputs of a model are. */
export const OUTPUT_KINDS = ['causal', 'masked', 'labels', 'embedding'] as const;
/**
 * The kind of outputs that a model has.
 *
 * @useDeclaredType
 */
export type OutputKind = (typeof OUTPUT_KINDS)[number];

/** How good the outputs of a model are on some texts; what does not apply is undefined. */
export interface Quality {
  /** Causal models: exp of the negative mean log-probability of the tokens. */
  readonly perplexity?: Estimate | undefined;
  /** Models with logits: mean KL(original || candidate) in nats; undefined for the original. */
  readonly divergence?: Estimate | undefined;
  /** Models with logits: share of the positions with the original's likeliest token. */
  readonly agreement?: Estimate | undefined;
  /** Models with embeddings: mean cosine to the original's. */
  readonly cosine?: Estimate | undefined;
  /** Models with embeddings: Spearman's correlation of the similarities of all pairs of the first 256 texts. */
  readonly rankCorrelation?: Estimate | undefined;
}

/**
 * Finds out what a model returns, and that its candidates return the same.
 *
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` if they do not.
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
      `${checkpoint}: returns ${its} (${model.kind}), but ${original.checkpoint} ${theirs} (${original.model.kind})`,
      { hint: 'Compare models of one vocabulary and one task.' },
    );
  }
  if (expected.kind === 'embedding') return 'embedding';
  return expected.rows === tokens.length ? original.model.kind : 'labels';
}

function describeOutputs({ kind, rows, size }: Outputs): string {
  return `${kind} of ${rows} x ${size}`;
}

/**
 * Runs all models on all sequences, one at a time, and compares the candidates with the first model.
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

/** The sum of the tops over the sum of the bottoms, with texts drawn whole. */
function ratio(
  tops: readonly number[],
  bottoms: readonly number[],
  draw: BootstrapOptions,
  finish: (mean: number) => number = Number,
): Promise<Estimate> {
  const statistic = (drawn: Uint32Array | undefined) => {
    let [top, bottom] = [0, 0];
    for (let i = 0; i < tops.length; i++) {
      const times = drawn?.[i] ?? 1;
      top += times * tops[i]!;
      bottom += times * bottoms[i]!;
    }
    return finish(top / bottom);
  };
  return estimate(tops.length, statistic, draw);
}

/** A statistic of all items, and the interval of the same statistic of draws of them. */
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

/** Returns `result` if a number that every NaN reaches is none. */
function finite<T>({ checkpoint }: TokenSession, result: T, total: number): T {
  if (!Number.isNaN(total)) return result;
  throw new LowRankError('ERR_NOT_FINITE', `${checkpoint}: its output for a text is not a number`, {
    hint: 'The model is broken, or overflows in float16.',
  });
}
