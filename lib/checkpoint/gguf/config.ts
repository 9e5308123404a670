import type { GgufMetadata } from './metadata.js';

/** What `config.json` calls the numbers of a model, and GGUF behind the name of its architecture. */
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
 * The metadata of a GGUF file in the words of `config.json`, as far as other rooms read that. `general.architecture` stands
 * under its own key, which tells that a config comes from GGUF, and as `model_type`. A number that differs from layer
 * to layer is left out. Undefined without an architecture.
 */
export function configOf(metadata: GgufMetadata): Readonly<Record<string, unknown>> | undefined {
  const architecture = metadata.text('general.architecture');
  if (architecture === undefined) return undefined;
  const numbers = Object.entries(NUMBERS)
    .map(([name, key]) => [name, metadata.wholeNumber(`${architecture}.${key}`)] as const)
    .filter(([, value]) => value !== undefined);
  return { 'general.architecture': architecture, model_type: architecture, ...Object.fromEntries(numbers) };
}
