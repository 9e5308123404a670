import { fused, type TensorNaming, whole } from './family.js';

/**
 * The gated feed-forward matrices of most decoders. A layer of experts stores them in one tensor
 * each, or all in one tensor [experts, out, in]. The expert that all tokens share is called
 * `shared_expert` if there is one, else `shared_experts`.
 */
export const gatedFeedForward = {
  fc_in: [
    ...whole('mlp.gate_proj.weight', 'mlp.experts.#.gate_proj.weight', 'block_sparse_moe.experts.#.w1.weight'),
    ...fused('mlp.experts.gate_up_proj', 'halves', 'rows', 0),
  ],
  fc_up: [
    ...whole('mlp.up_proj.weight', 'mlp.experts.#.up_proj.weight', 'block_sparse_moe.experts.#.w3.weight'),
    ...fused('mlp.experts.gate_up_proj', 'halves', 'rows', 1),
  ],
  fc_out: whole(
    'mlp.down_proj.weight',
    'mlp.experts.#.down_proj.weight',
    'block_sparse_moe.experts.#.w2.weight',
    'mlp.experts.down_proj',
  ),
  shared_in: whole('mlp.shared_expert.gate_proj.weight', 'mlp.shared_experts.gate_proj.weight'),
  shared_up: whole('mlp.shared_expert.up_proj.weight', 'mlp.shared_experts.up_proj.weight'),
  shared_out: whole('mlp.shared_expert.down_proj.weight', 'mlp.shared_experts.down_proj.weight'),
} as const satisfies TensorNaming['matrices'];
