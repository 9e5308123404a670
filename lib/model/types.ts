/**
 * The matrices of a transformer layer, with the names of the LASER paper's code; `fc_up` is the
 * third matrix of gated models. `q_a_proj` and `kv_a_proj` go down to latent vectors; `cross_...`
 * belong to a decoder's attention to the encoder; `shared_...` to the expert that all tokens share.
 */
export const MATRIX_TYPES = [
  'q_proj',
  'k_proj',
  'v_proj',
  'out_proj',
  'q_a_proj',
  'kv_a_proj',
  'cross_q_proj',
  'cross_k_proj',
  'cross_v_proj',
  'cross_out_proj',
  'fc_in',
  'fc_up',
  'fc_out',
  'shared_in',
  'shared_up',
  'shared_out',
] as const;
/**
 * A matrix of a transformer layer.
 *
 * @useDeclaredType
 */
export type MatrixType = (typeof MATRIX_TYPES)[number];

/**
 * Names for several matrices at once. Each stored tensor is taken whole, even if it fuses several
 * matrices.
 */
export const GROUPS = {
  attn: ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'q_a_proj', 'kv_a_proj'],
  cross_attn: ['cross_q_proj', 'cross_k_proj', 'cross_v_proj', 'cross_out_proj'],
  mlp: ['fc_in', 'fc_up', 'fc_out', 'shared_in', 'shared_up', 'shared_out'],
  all: MATRIX_TYPES,
} as const satisfies Record<string, readonly MatrixType[]>;
/**
 * Several matrices of a layer at once.
 *
 * @useDeclaredType
 */
export type GroupType = keyof typeof GROUPS;

/** All names for one or several matrices of a layer. */
export const TARGET_TYPES = [...MATRIX_TYPES, 'attn', 'cross_attn', 'mlp', 'all'] as const satisfies readonly (
  | MatrixType
  | GroupType
)[];

/** All types that an intervention may name; `dont` leaves the model unchanged. */
export const LAYER_TYPES = ['dont', ...TARGET_TYPES] as const;
/**
 * A type that an intervention may name.
 *
 * @useDeclaredType
 */
export type LayerType = (typeof LAYER_TYPES)[number];
