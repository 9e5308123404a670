import { LowRankError } from '../../errors.js';
import { printable } from '../../text/printable.js';
import type { TokenSession } from '../engines/token-session.js';

/** Tokenised texts. */
export interface TokenTexts {
  /** The tokens of each text, with the tokenizer's prefix and suffix, such as [CLS] and [SEP]. */
  readonly sequences: readonly (readonly number[])[];
  /** The tokens of all texts in a row, without prefixes and suffixes. Timed runs take them. */
  readonly inner: readonly number[];
}

/**
 * Characters to tokenise for each token that is kept. No tokenizer's tokens are this long on
 * average, so the rest of a text could not matter.
 */
const CHARACTERS_PER_TOKEN = 64;

/**
 * Tokenises texts and truncates them.
 *
 * @param length the maximum number of tokens, with prefix and suffix
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` if the models' tokens of a text differ;
 *   `ERR_DATASET` if no text has two tokens.
 */
export async function tokeniseTexts(
  sessions: readonly TokenSession[],
  texts: readonly string[],
  length: number,
): Promise<TokenTexts> {
  const [original, ...candidates] = sessions as [TokenSession, ...TokenSession[]];
  const most = Math.min(length, ...sessions.map(({ model }) => model.contextLength));
  const cut = texts.map((text) => text.slice(0, most * CHARACTERS_PER_TOKEN));
  const { prefix, suffix } = original.model;
  const room = Math.max(0, most - prefix.length - suffix.length);
  const encode = async ({ model }: TokenSession) =>
    // A tokenizer that lacks a token for unknown words returns undefined for them.
    (await model.encode(cut)).map((tokens) => tokens.filter((token) => token !== undefined).slice(0, room));
  const whole = (session: TokenSession, tokens: readonly number[]) => [
    ...session.model.prefix,
    ...tokens,
    ...session.model.suffix,
  ];
  const encoded = await encode(original);
  for (const candidate of candidates) {
    if (candidate.model.tokenizer === original.model.tokenizer) continue;
    const other = await encode(candidate);
    const differs = encoded.findIndex(
      (tokens, i) => whole(original, tokens).join() !== whole(candidate, other[i]!).join(),
    );
    if (differs < 0) continue;
    const start = printable(cut[differs]!.slice(0, 40));
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `${candidate.checkpoint}: its tokenizer gives other tokens than that of ${original.checkpoint} for the text "${start}"`,
      { hint: 'Compare models with the same tokenizer.' },
    );
  }
  const sequences = encoded.map((tokens) => whole(original, tokens)).filter((tokens) => tokens.length >= 2);
  if (sequences.length === 0) {
    throw new LowRankError('ERR_DATASET', 'no text has two tokens, so nothing can be compared');
  }
  return { sequences, inner: encoded.flat() };
}
