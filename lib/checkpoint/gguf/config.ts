import type { GgufMetadata } from './metadata.js';

/**
 * The names of a model's numbers in `config.json`, and in GGUF after the name of the architecture;
 * the first that is there counts. `..._mla` are the sizes of a head where the others are those of
 * the latent vectors that llama.cpp computes attention with.
 */
const NUMBERS = {
  hidden_size: 'embedding_length',
  intermediate_size: 'feed_forward_length',
  num_hidden_layers: 'block_count',
  num_attention_heads: 'attention.head_count',
  num_key_value_heads: 'attention.head_count_kv',
  head_dim: ['attention.key_length_mla', 'attention.key_length'],
  v_head_dim: ['attention.value_length_mla', 'attention.value_length'],
  qk_rope_head_dim: 'rope.dimension_count',
  kv_lora_rank: 'attention.kv_lora_rank',
  num_experts: 'expert_count',
  max_position_embeddings: 'context_length',
  vocab_size: 'vocab_size',
} as const;

/**
 * Converts the metadata of a GGUF file to the terms of `config.json`, as far as other rooms read
 * them. `general.architecture` keeps its own key, which shows that a config comes from GGUF, and
 * also becomes `model_type`. A number that differs from layer to layer is left out. Returns
 * undefined without an architecture.
 */
export function configOf(metadata: GgufMetadata): Readonly<Record<string, unknown>> | undefined {
  const architecture = metadata.text('general.architecture');
  if (architecture === undefined) return undefined;
  const read = (key: string) => metadata.wholeNumber(`${architecture}.${key}`);
  const numbers = Object.entries(NUMBERS)
    .map(
      ([name, keys]) =>
        [
          name,
          [keys]
            .flat()
            .map(read)
            .find((value) => value !== undefined),
        ] as const,
    )
    .filter(([, value]) => value !== undefined);
  return { 'general.architecture': architecture, model_type: architecture, ...Object.fromEntries(numbers) };
}
