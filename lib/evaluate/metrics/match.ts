/** Compares an answer with a generated text, like LASER's `study_utils/metric_utils.py`. */

import type { Compat } from './compat.js';

export interface Overlap {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/** Removes case, and white space at the ends, before comparisons. */
export function normalised(text: string): string {
  return text.trim().toLowerCase();
}

export function exactMatch(generation: string, answer: string): boolean {
  return normalised(generation) === normalised(answer);
}

/** Whether the generation contains the answer. */
export function generationMatch(generation: string, answer: string): boolean {
  return normalised(generation).includes(normalised(answer));
}

/**
 * Splits a text into words and punctuation marks. LASER uses NLTK's `word_tokenize`, which agrees
 * on words, numbers, marks and the contractions `'s`, `'re`, `n't`; it differs on abbreviations
 * with a full stop.
 *
 * @internal
 */
export function words(text: string): string[] {
  return (
    text.match(
      /\p{L}[\p{L}\p{M}\p{N}]*?(?=n't\b)|n't\b|'\p{L}+|[\p{L}\p{M}\p{N}]+(?:[-.,][\p{L}\p{M}\p{N}]+)*|[^\s]/gu,
    ) ?? []
  );
}

/**
 * Returns the harmonic mean of precision and recall. The original divides by max(1, P + R), which
 * gives too small a result whenever P + R < 1: 0.32 for P = R = 0.4.
 */
function f1(precision: number, recall: number, compat?: Compat): number {
  const sum = precision + recall;
  if (compat === 'laser') return (2 * precision * recall) / Math.max(1, sum);
  return sum === 0 ? 0 : (2 * precision * recall) / sum;
}

/** Returns precision, recall and F1 of the sets of words. */
export function overlap(generation: string, answer: string, compat?: Compat): Overlap {
  const [said, right] = [generation, answer].map((text) => new Set(words(normalised(text)))) as [
    Set<string>,
    Set<string>,
  ];
  const common = [...said].filter((word) => right.has(word)).length;
  const precision = common / Math.max(1, said.size);
  const recall = common / Math.max(1, right.size);
  return { precision, recall, f1: f1(precision, recall, compat) };
}
