import type { Scores } from './engine.js';

/**
 * Returns log-probabilities from one position's logits, summed in float64.
 *
 * @param top how many of the likeliest tokens to return; of equal ones the lower comes first
 */
export function readLogits(logits: ArrayLike<number>, targets: readonly number[], top: number): Scores {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > most) most = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - most);
  const norm = most + Math.log(sum);
  return {
    logProbs: targets.map((token) => logits[token]! - norm),
    top: likeliest(logits, top).map((token) => ({ token, logProb: logits[token]! - norm })),
  };
}

/** Makes one pass with a short sorted list: vocabularies are long and `count` is small. */
function likeliest(logits: ArrayLike<number>, count: number): number[] {
  const best: number[] = [];
  for (let token = 0; token < logits.length && count > 0; token++) {
    const logit = logits[token]!;
    if (best.length === count && !(logit > logits[best[count - 1]!]!)) continue;
    let at = best.length;
    while (at > 0 && logit > logits[best[at - 1]!]!) at--;
    best.splice(at, 0, token);
    if (best.length > count) best.pop();
  }
  return best;
}
