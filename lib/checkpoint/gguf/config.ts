import type { GgufMetadata } from './metadata.js';

/**
 * The names of a model's numbers in `config.json`, and in GGUF after the name of the architecture.
 */
const NUMBERS = {
  hidden_size: 'embedding_length',
  intermediate_size: 'feed_forward_length',
  num_hidden_layers: 'block_count',
  num_attention_heads: 'attention.head_count',
  num_key_value_heads: 'attention.head_count_kv',
  head_dim: 'attention.key_length',
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
  const numbers = Object.entries(NUMBERS)
    .map(([name, key]) => [name, metadata.wholeNumber(`${architecture}.${key}`)] as const)
    .filter(([, value]) => value !== undefined);
  return { 'general.architecture': architecture, model_type: architecture, ...Object.fromEntries(numbers) };
}
