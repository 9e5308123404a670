import { LowRankError } from '../../errors.js';
import type { Divergence, Outputs, TextLikelihood } from './engine.js';

/**
 * Compares the logits Q of a model with the logits P of another one for the same tokens. For each
 * row: KL(p || q) = sum p_i (log p_i - log q_i) in nats (Kullback and Leibler 1951), with p and q
 * the softmax of the rows, in float64; and whether both have the same likeliest token, of equal
 * ones the lowest.
 *
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` if the shapes differ.
 */
export function diverge(Q: Outputs, P: Outputs): Divergence {
  if (P.kind !== Q.kind || P.rows !== Q.rows || P.size !== Q.size) {
    const [q, p] = [Q, P].map(({ kind, rows, size }) => `${kind} of ${rows} x ${size}`);
    throw new LowRankError('ERR_UNSUPPORTED', `returns ${q}, but the original ${p}`, {
      hint: 'Compare models with the same vocabulary and task.',
    });
  }
  let kl = 0;
  let agreed = 0;
  const exponentials = new Float64Array(P.size);
  for (let row = 0; row < P.rows; row++) {
    const p = P.data.subarray(row * P.size, (row + 1) * P.size);
    const q = Q.data.subarray(row * Q.size, (row + 1) * Q.size);
    const [a, b] = [normOf(p, exponentials), normOf(q)];
    let sum = 0;
    for (let i = 0; i < p.length; i++) {
      const weight = exponentials[i]!;
      // A term with p = 0 is 0, also where q = 0.
      if (weight > 0) sum += weight * (p[i]! - a.log - (q[i]! - b.log));
    }
    // Rounding may leave a negative number of the size of float64's accuracy.
    kl += Math.max(sum / a.sum, 0);
    if (a.likeliest === b.likeliest) agreed++;
  }
  return { rows: P.rows, kl, agreed, text: Q.text };
}

/** Sums the log-probabilities of tokens, each read from the row before it. */
export function textLikelihood(logits: Float32Array, size: number, tokens: readonly number[]): TextLikelihood {
  let logProb = 0;
  for (let row = 0; row + 1 < tokens.length; row++) {
    const values = logits.subarray(row * size, (row + 1) * size);
    logProb += (values[tokens[row + 1]!] ?? Number.NaN) - normOf(values).log;
  }
  return { logProb, tokens: Math.max(0, tokens.length - 1) };
}

/**
 * Returns log(sum(exp(x))), and the index of the largest number.
 *
 * @param exponentials filled with exp(x - max(x)), whose sum is returned too
 */
function normOf(
  x: Float32Array,
  exponentials?: Float64Array,
): { readonly log: number; readonly sum: number; readonly likeliest: number } {
  let likeliest = 0;
  for (let i = 1; i < x.length; i++) if (x[i]! > x[likeliest]!) likeliest = i;
  const most = x[likeliest]!;
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    const exponential = Math.exp(x[i]! - most);
    if (exponentials !== undefined) exponentials[i] = exponential;
    sum += exponential;
  }
  return { log: most + Math.log(sum), sum, likeliest };
}
