import type { Orientation } from '../../checkpoint/checkpoint.js';
import type { MatrixType } from '../types.js';

/**
 * How several matrices share one tensor.
 *
 * - `thirds`: q, k and v one after the other, equally large
 * - `heads`: q, k and v one after the other, sized by the heads in config.json (k and v may have
 *   fewer than q)
 * - `interleaved`: for each head of k and v in turn, its heads of q, then its k and its v
 * - `latent`: k and v of each head in turn, as wide as qk_nope_head_dim and v_head_dim in
 *   config.json
 * - `halves`: gate, then up
 * - `alternating`: one number of gate, then one of up
 */
export type Fusion = 'thirds' | 'heads' | 'interleaved' | 'latent' | 'halves' | 'alternating';

/** The part of a fused tensor that is one matrix. */
export interface FusedPart {
  readonly fusion: Fusion;
  /** The axis of the stored tensor along which the matrices lie side by side. */
  readonly axis: 'rows' | 'columns';
  /** The position of the matrix: q, k, v or k, v or gate, up. */
  readonly index: 0 | 1 | 2;
}

/** The location of a matrix in a checkpoint. */
export interface MatrixLocation {
  /** The tensor's name after the layer's number; `#` stands for a number, such as an expert's. */
  readonly name: string;
  /** Absent if the tensor is the matrix. */
  readonly part?: FusedPart;
  /** The orientation of this tensor, if it differs from that of the family. */
  readonly orientation?: Orientation;
}

/** One way in which a family's checkpoints name their tensors. */
export interface TensorNaming {
  /**
   * The text before the layer's number. The first prefix that a checkpoint uses counts; others
   * belong to other models in it.
   */
  readonly prefixes: readonly string[];
  /** The end of a name that a checkpoint must have in a layer for this naming to count. */
  readonly requires?: string;
  /** The orientation of files that use these names, whatever the family usually does. */
  readonly orientation?: Orientation;
  /**
   * All locations of a matrix: a layer of experts has several, and a checkpoint has only some of
   * them.
   */
  readonly matrices: Readonly<Partial<Record<MatrixType, readonly MatrixLocation[]>>>;
  /** The member of config.json that describes these layers, such as `vision_config`. */
  readonly config?: string;
  /**
   * A second stack of layers, such as a decoder after an encoder. Its layers are numbered on from
   * those of the first.
   */
  readonly next?: TensorNaming;
}

/** What llama.cpp calls the models of a family. */
export interface GgufSupport {
  /** `general.architecture` in the metadata of GGUF files that use one of the namings. */
  readonly architectures: readonly string[];
  /**
   * The architecture by `model_type`, for models whose weights llama.cpp's converter only renames
   * and whose rows it at most reorders. Source: the classes in llama.cpp's `conversion/`.
   */
  readonly converted?: Readonly<Record<string, string>>;
  /**
   * Architectures in which llama.cpp rotates neighbouring numbers, so that the converter reorders
   * the rows of q and k.
   */
  readonly paired?: readonly string[];
  /** PyTorch's name of the embedding, if it is not `model.embed_tokens`. */
  readonly embedding?: string;
  /** PyTorch's name of the head, if it is not `lm_head`. */
  readonly head?: string;
}

/** Models whose checkpoints name their tensors alike. */
export interface Family {
  readonly name: string;
  /** The best known of its models, in words, for the documentation. */
  readonly models: string;
  /** `model_type` in config.json. */
  readonly modelTypes: readonly string[];
  /**
   * The names in `architectures`, without the suffix for the purpose (`ForCausalLM`, `Model`, ...).
   */
  readonly architectures: readonly string[];
  /**
   * `in x out` for GPT-2's Conv1D (x W), `out x in` for all others (x W^T). A checkpoint may
   * differ, as nanoGPT's do from GPT-2's; {@link Model.roleOf} returns the orientation of its own
   * tensors.
   */
  readonly orientation: Orientation;
  readonly namings: readonly TensorNaming[];
  /** Absent if llama.cpp has no name for these models. */
  readonly gguf?: GgufSupport;
}

/** Returns a naming and the stacks that follow it. */
export function stacksOf(naming: TensorNaming): readonly TensorNaming[] {
  return naming.next === undefined ? [naming] : [naming, ...stacksOf(naming.next)];
}

/** Locations of a matrix that is alone in its tensor. */
export const whole = (...names: string[]): readonly MatrixLocation[] => names.map((name) => ({ name }));

/** The location of a matrix that shares its tensor. */
export const fused = (
  name: string,
  fusion: Fusion,
  axis: FusedPart['axis'],
  index: FusedPart['index'],
): readonly MatrixLocation[] => [{ name, part: { fusion, axis, index } }];

/** The locations of q, k and v in one tensor. */
export const qkv = (name: string, fusion: Fusion, axis: FusedPart['axis'] = 'rows') => ({
  q_proj: fused(name, fusion, axis, 0),
  k_proj: fused(name, fusion, axis, 1),
  v_proj: fused(name, fusion, axis, 2),
});

/** Decoders beside a vision tower have their own prefixes, which no tower uses. */
export const DECODER_PREFIXES = [
  'model.layers.',
  'model.language_model.layers.',
  'language_model.model.layers.',
  'layers.',
];
