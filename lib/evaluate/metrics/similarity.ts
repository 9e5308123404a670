/** Returns x'y / (|x| |y|), summed in float64; NaN if one of them is zero. */
export function cosine(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    xy += x[i]! * y[i]!;
    xx += x[i]! ** 2;
    yy += y[i]! ** 2;
  }
  return xy / Math.sqrt(xx * yy);
}

/**
 * Returns the place of each value in ascending order, from 1; equal values share their mean place.
 *
 * @internal
 */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const result = new Float64Array(values.length);
  for (let begin = 0; begin < order.length; ) {
    let end = begin + 1;
    while (end < order.length && values[order[end]!] === values[order[begin]!]) end++;
    for (let i = begin; i < end; i++) result[order[i]!] = (begin + end + 1) / 2;
    begin = end;
  }
  return result;
}

/** The similarities of all pairs of some embeddings, as two models see them. */
export class PairedSimilarities {
  readonly #count: number;
  readonly #x: Float64Array;
  readonly #y: Float64Array;

  /** @param x, y one embedding an item, of each model */
  constructor(x: readonly ArrayLike<number>[], y: readonly ArrayLike<number>[]) {
    this.#count = x.length;
    this.#x = ranks(cosinesOfPairs(x));
    this.#y = ranks(cosinesOfPairs(y));
  }

  /**
   * Returns Spearman's correlation of the similarities: Pearson's of their ranks (Spearman 1904).
   * NaN if there are fewer than two pairs, or all are equal.
   *
   * @param drawn how often each item counts; a pair counts as often as the product. The ranks stay
   *   those among all pairs, so that a draw takes linear time.
   */
  correlation(drawn?: ArrayLike<number>): number {
    let [n, sx, sy] = [0, 0, 0];
    this.#forEachPair(drawn, (weight, x, y) => {
      n += weight;
      sx += weight * x;
      sy += weight * y;
    });
    const [mx, my] = [sx / n, sy / n];
    let [xy, xx, yy] = [0, 0, 0];
    this.#forEachPair(drawn, (weight, x, y) => {
      xy += weight * (x - mx) * (y - my);
      xx += weight * (x - mx) ** 2;
      yy += weight * (y - my) ** 2;
    });
    return xy / Math.sqrt(xx * yy);
  }

  #forEachPair(drawn: ArrayLike<number> | undefined, visit: (weight: number, x: number, y: number) => void): void {
    let pair = 0;
    for (let i = 0; i < this.#count; i++) {
      const first = drawn?.[i] ?? 1;
      for (let j = i + 1; j < this.#count; j++, pair++) {
        const weight = first * (drawn?.[j] ?? 1);
        if (weight > 0) visit(weight, this.#x[pair]!, this.#y[pair]!);
      }
    }
  }
}

function cosinesOfPairs(vectors: readonly ArrayLike<number>[]): Float64Array {
  const result = new Float64Array((vectors.length * (vectors.length - 1)) / 2);
  let pair = 0;
  for (let i = 0; i < vectors.length; i++) {
    for (let j = i + 1; j < vectors.length; j++) result[pair++] = cosine(vectors[i]!, vectors[j]!);
  }
  return result;
}
