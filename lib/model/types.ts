import { ArgumentError } from '../errors.js';

/**
 * The matrices of a transformer layer, with the names of the LASER paper's code; `fc_up` is the
 * third matrix of gated models.
 */
export const MATRIX_TYPES = ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc_in', 'fc_up', 'fc_out'] as const;
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
  attn: ['q_proj', 'k_proj', 'v_proj', 'out_proj'],
  mlp: ['fc_in', 'fc_up', 'fc_out'],
  all: MATRIX_TYPES,
} as const satisfies Record<string, readonly MatrixType[]>;
/**
 * Several matrices of a layer at once.
 *
 * @useDeclaredType
 */
export type GroupType = keyof typeof GROUPS;

/** All names for one or several matrices of a layer. */
export const TARGET_TYPES = [...MATRIX_TYPES, 'attn', 'mlp', 'all'] as const satisfies readonly (
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

/**
 * Returns a type by its name.
 *
 * @throws {@link ArgumentError} if `name` is none of {@link LAYER_TYPES}.
 */
export function asLayerType(name: string, argument = 'type'): LayerType {
  const found = LAYER_TYPES.find((type) => type === name);
  if (found === undefined) throw new ArgumentError(argument, `one of ${LAYER_TYPES.join(', ')}`, name);
  return found;
}
