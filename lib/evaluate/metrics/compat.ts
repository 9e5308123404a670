/**
 * `laser` reproduces what LASER's code computes where it differs from the names of its figures, so
 * that results can be compared with published ones:
 *
 * 1. F1 is divided by max(1, P + R).
 * 2. A masked model's answer counts as one token longer than it is.
 * 3. The prompt counts as part of a causal model's generation, so an answer that the question
 *    mentions is found there.
 * 4. Top-k compares the texts of tokens, without case and white space, not the tokens.
 */
export type Compat = 'laser';
export const COMPATS: readonly Compat[] = ['laser'];
