import { diverge } from '../evaluate/engines/diverge.js';
import type { Outputs } from '../evaluate/engines/engine.js';
import { cosine } from '../evaluate/metrics/similarity.js';

/** How far the outputs of a model are from those of the original, on the same samples. */
export interface OutputChange {
  readonly samples: number;
  /** Vectors of outputs: one for each token, where the samples are texts. */
  readonly vectors: number;
  /** Logits: the mean KL divergence from the original, in nats. */
  readonly divergence?: number;
  /** Logits: the share of the vectors whose largest number is in the same place. */
  readonly agreement?: number;
  /** Other outputs: the mean cosine of the vectors. */
  readonly cosine?: number;
}

/** Sums up how outputs change over samples. */
export class OutputChanges {
  #samples = 0;
  #vectors = 0;
  #kl = 0;
  #agreed = 0;
  #cosine = 0;

  /** @param kind whether the outputs are logits, whose softmax is what matters */
  constructor(private readonly kind: 'logits' | 'vectors') {}

  /** Adds the outputs for a sample: vectors of `width` numbers. */
  add(before: Float32Array, after: Float32Array, width: number): void {
    const rows = before.length / width;
    this.#samples++;
    this.#vectors += rows;
    if (this.kind === 'logits') {
      const text = { logProb: 0, tokens: 0 };
      const outputs = (data: Float32Array): Outputs => ({ kind: 'logits', rows, size: width, data, text });
      const { kl, agreed } = diverge(outputs(after), outputs(before));
      this.#kl += kl;
      this.#agreed += agreed;
      return;
    }
    for (let begin = 0; begin < before.length; begin += width) {
      const found = cosine(before.subarray(begin, begin + width), after.subarray(begin, begin + width));
      // Of two zero vectors neither has a direction: they are equal.
      this.#cosine += Number.isNaN(found) ? Number(isZero(before, begin, width) && isZero(after, begin, width)) : found;
    }
  }

  get mean(): OutputChange {
    const [samples, vectors] = [this.#samples, this.#vectors];
    return this.kind === 'logits'
      ? { samples, vectors, divergence: this.#kl / vectors, agreement: this.#agreed / vectors }
      : { samples, vectors, cosine: this.#cosine / vectors };
  }
}

function isZero(numbers: Float32Array, begin: number, width: number): boolean {
  return numbers.subarray(begin, begin + width).every((value) => value === 0);
}
