import { describe, LowRankError } from '../errors.js';

/** config.json, or the part of it that describes the layers. */
export type Config = Readonly<Record<string, unknown>>;

/** A number in config.json, and its name there. */
export interface Stated {
  readonly name: string;
  readonly value: number;
}

/** The families' names for the width of the hidden state. */
const HIDDEN = ['hidden_size', 'n_embd', 'dim', 'd_model'];
/** The families' names for the width inside the feed-forward block. */
const INNER = ['intermediate_size', 'n_inner', 'ffn_dim', 'hidden_dim'];

/** @throws LowRankError as {@link stated}. */
export function hiddenSize(config: Config): Stated | undefined {
  return stated(config, HIDDEN);
}

/** @throws LowRankError as {@link stated}. */
export function innerSize(config: Config): Stated | undefined {
  return stated(config, INNER);
}

/**
 * Returns the attention heads of the queries, and those of keys and values; undefined without any.
 *
 * @throws LowRankError as {@link stated}.
 */
export function attentionHeads(config: Config): { readonly query: number; readonly keyValue: number } | undefined {
  const query = stated(config, ['num_attention_heads', 'n_head'])?.value;
  if (query === undefined) return undefined;
  return { query, keyValue: stated(config, ['num_key_value_heads', 'n_head_kv'])?.value ?? query };
}

/**
 * Returns the first of these numbers that config.json states; null counts as absent.
 *
 * @throws LowRankError `ERR_CHECKPOINT_FORMAT` if it is not a whole number above 0.
 */
export function stated(config: Config, names: readonly string[]): Stated | undefined {
  const name = names.find((candidate) => config[candidate] !== undefined && config[candidate] !== null);
  if (name === undefined) return undefined;
  const value = config[name];
  if (Number.isSafeInteger(value) && (value as number) > 0) return { name, value: value as number };
  throw new LowRankError(
    'ERR_CHECKPOINT_FORMAT',
    `config.json: ${name} is ${describe(value)}, expected a whole number above 0`,
  );
}
