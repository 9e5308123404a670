import { describe, LowRankError } from '../errors.js';

/** config.json, or the part of it that describes the layers. */
export type Config = Readonly<Record<string, unknown>>;

/** A number in config.json, and its name there. */
export interface Stated {
  readonly name: string;
  readonly value: number;
}

/** The families' names for the width of the hidden state. */
const HIDDEN = ['hidden_size', 'n_embd', 'n_embed', 'dim', 'd_model'];
/** The families' names for the width inside the feed-forward block. */
const INNER = ['intermediate_size', 'n_inner', 'ffn_dim', 'hidden_dim', 'd_ff', 'encoder_ffn_dim', 'ffn_hidden_size'];

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
 * Falcon and GPT-BigCode have one head of keys and values if `multi_query` is set, whatever the
 * other numbers are; Falcon's `new_decoder_architecture` makes them count again.
 *
 * @throws LowRankError as {@link stated}.
 */
export function attentionHeads(config: Config): { readonly query: number; readonly keyValue: number } | undefined {
  const query = stated(config, ['num_attention_heads', 'n_head'])?.value;
  if (query === undefined) return undefined;
  if (config.multi_query === true && config.new_decoder_architecture !== true) return { query, keyValue: 1 };
  return { query, keyValue: stated(config, ['num_key_value_heads', 'num_kv_heads', 'n_head_kv'])?.value ?? query };
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

/** The widths of a head in attention through latent vectors. */
export interface LatentHeads {
  /** The width of the latent vector of keys and values. */
  readonly latent: Stated | undefined;
  /** The part of a key that comes from the latent vector; the rest carries the position. */
  readonly key: number;
  readonly value: number;
}

/**
 * Returns the widths of heads of k and v that share a matrix; undefined if they are not stated.
 * GGUF states the width of a whole key and that of its part that carries the position.
 *
 * @throws LowRankError as {@link stated}.
 */
export function latentHeads(config: Config): LatentHeads | undefined {
  const own = stated(config, ['qk_nope_head_dim'])?.value;
  const [whole, position] = [stated(config, ['head_dim'])?.value, stated(config, ['qk_rope_head_dim'])?.value];
  const key = own ?? (whole === undefined || position === undefined ? undefined : whole - position);
  const value = stated(config, ['v_head_dim'])?.value;
  if (key === undefined || key <= 0 || value === undefined) return undefined;
  return { latent: stated(config, ['kv_lora_rank']), key, value };
}
