import type { StoredType } from '../tensor/dtype.js';

export type Format = 'safetensors' | 'gguf' | 'onnx';

/**
 * The orientation of a weight W: its layer computes x W^T (`out x in`, PyTorch's Linear) or x W
 * (`in x out`, Conv1D, MatMul).
 */
export type Orientation = 'out x in' | 'in x out';

/** The description of a tensor, known without reading it. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: StoredType;
  /**
   * Row-major, in PyTorch's order of dimensions; reversed when read from formats with the opposite
   * order.
   */
  readonly shape: readonly number[];
  /** Its bytes in the file. */
  readonly bytes: number;
  /** Its file, relative to the checkpoint's folder. */
  readonly file: string;
  /** The position of its first byte in that file. */
  readonly offset: number;
  /**
   * The name by which the model's family knows it, if the file's own name has no meaning: ONNX
   * calls a weight `onnx::MatMul_123`, and only the node that uses it shows its place in the model.
   */
  readonly alias?: string;
  /**
   * The orientation in the file, if the file shows it; undefined if only the model's family knows.
   */
  readonly orientation?: Orientation;
  /**
   * Its users, if the file shows them and there are several: modules, or operators outside any
   * module. An edit changes the weight for all of them.
   */
  readonly users?: readonly string[];
}

/** Tensors of a file that can be neither read nor edited here, so they are not listed. */
export interface UnlistedTensors {
  /** Their location, to complete "3 matrices lie ...". */
  readonly where: string;
  readonly tensors: number;
  readonly bytes: number;
  /** How to have them listed. */
  readonly hint: string;
}

/** The range of bytes that a tensor takes in a file. */
export interface ByteRange {
  /** The position of its first byte. */
  readonly offset: number;
  readonly bytes: number;
}

/** A part of a file to write. */
export type FilePart =
  /** Unchanged bytes of the source's file `file`. */
  | { readonly kind: 'copy'; readonly file: string; readonly offset: number; readonly bytes: number }
  /** New bytes: headers, padding. */
  | { readonly kind: 'bytes'; readonly data: Uint8Array }
  /** Room for an edited tensor. */
  | { readonly kind: 'tensor'; readonly name: string; readonly bytes: number };

/** Describes a tensor of a copy that the source does not have. */
export interface NewTensorInfo {
  readonly name: string;
  readonly dtype: StoredType;
  /** Row-major, as in {@link TensorInfo}. */
  readonly shape: readonly number[];
}

/** The change of a tensor in an edited copy. */
export type TensorChange =
  /** It keeps its name and shape, and gets new bytes of this type. */
  | { readonly as: StoredType }
  /**
   * These replace it, such as the two factors of a matrix. One of them may keep its name. None: it
   * is left out. `form` says how they make it up where they are whole numbers with scales. `times`
   * says that this is the left factor of the one tensor that replaces it, and what it is multiplied
   * by: the model multiplies by their product from then on, and the others are to be left out.
   */
  | { readonly by: readonly NewTensorInfo[]; readonly form?: QuantizedForm; readonly times?: OtherFactors };

/** What the left factor of a weight is multiplied by, by the names of tensors. */
export interface OtherFactors {
  readonly right: string;
  /** Of pivoted factors: the order of the columns of [identity, right]. */
  readonly order?: string | undefined;
}

/**
 * How a matrix of outputs x inputs is made up of whole numbers and scales: what each of its tensors
 * is, by name.
 */
export interface QuantizedForm {
  /**
   * `blocks`: codes of a few bits [outputs, blocks, bytes], as MatMulNBits multiplies by them;
   * `rows`: the same [outputs, bytes], whose rows are looked up; `channels`: int8 [inputs,
   * outputs], by which inputs of 8 bits are multiplied.
   */
  readonly kind: 'blocks' | 'rows' | 'channels';
  readonly inputs: number;
  readonly outputs: number;
  readonly codes: string;
  /** One for each block of inputs; of `channels`, for each output. */
  readonly scales: string;
  /** Zero points, packed as codes are; without them the middle of all codes is 0. */
  readonly zeros?: string;
  readonly bits: number;
  /** Inputs that share a scale. */
  readonly block: number;
  /** Whether scales are stored in float16. */
  readonly halfScales?: boolean;
  /** Of MatMulNBits: 4 lets it round inputs to 8 bits. */
  readonly accuracyLevel?: number;
  /**
   * Of `channels`: what inputs are multiplied by first, of the type of the scales, [inputs];
   * several weights may share it.
   */
  readonly smoothing?: string;
  /**
   * What is added: left [inputs, k] and right [k, outputs] as int8, with a scale for each of the k
   * components.
   */
  readonly correction?: {
    readonly rank: number;
    readonly left: string;
    readonly right: string;
    readonly scales: string;
  };
}

/** A file of an edited copy that differs from the source's. */
export interface FileLayout {
  /**
   * Its path with `/`, relative to the checkpoint's folder; that of the source's file, if there is
   * one.
   */
  readonly file: string;
  /**
   * Its parts in order. Undefined for a copy of the source's file in which edited tensors keep
   * their places.
   */
  readonly parts: readonly FilePart[] | undefined;
  /** The positions of its edited and new tensors, by their names in the copy. */
  readonly places: ReadonlyMap<string, ByteRange>;
}

/** Describes how values flow through a model whose file holds its computation. */
export interface ModelGraph {
  /**
   * Returns the different values that a weight multiplies from the right; none if some of them are
   * transposed first.
   */
  inputsOf(weight: string): readonly string[];
  /** Returns the product, if there is only one and nothing is added in the same node. */
  productOf(weight: string): string | undefined;
  /**
   * Returns the vector that is added to what a weight multiplies, and to nothing else, if its bytes
   * can be replaced: a tensor of the checkpoint.
   */
  biasOf(weight: string): string | undefined;
  /**
   * Whether rows of a weight are looked up, by whole numbers, and it is not used for anything else.
   */
  isLookedUp(weight: string): boolean;
  /**
   * Returns how the weight lay that a model has as factors, if its graph multiplies by them as
   * `layout` writes it.
   *
   * @throws LowRankError `ERR_UNSUPPORTED` otherwise
   */
  factoredWeight(weight: string, left: string, others: OtherFactors): Orientation;
  /** Lays out the model's file with more values among its outputs. */
  observing(values: Iterable<string>): FileLayout;
  /** Lays out the model's file with weights as inputs instead, by their names. */
  feeding(weights: Iterable<TensorInfo>): FileLayout;
}

/** A model on disk, of any format: named tensors as bytes. It holds no tensor in memory. */
export interface Checkpoint {
  readonly format: Format;
  /** The absolute path of the folder or file that was opened. */
  readonly path: string;
  /**
   * The path that opens as this checkpoint even if a folder holds several: the .onnx file, the
   * first .gguf file; for safetensors the path that was opened, or the index if `path` is its
   * folder and opens as another model. Absolute; `path` or inside it.
   */
  readonly main: string;
  /** In the order of the files. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Undefined for formats that hold weights alone. */
  readonly graph?: ModelGraph;
  /** Left out if `tensors` has all tensors of the file. */
  readonly unlisted?: readonly UnlistedTensors[];
  /**
   * `config.json` beside the weights, or the metadata of GGUF in its terms; undefined without
   * either.
   */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /**
   * Reads one tensor's bytes as they are in the file. Throws `ERR_NOT_FOUND` or
   * `ERR_CHECKPOINT_IO`.
   */
  read(name: string): Promise<Uint8Array>;
  /**
   * Lays out a copy in which tensors change: its weight files, and files that list the tensors,
   * such as an index of shards.
   *
   * @param changes by the names of the source's tensors
   * @throws LowRankError `ERR_NOT_FOUND`; `ERR_UNSUPPORTED` for a type in which the format, or this
   *   tensor, cannot be stored, and for new tensors that the format cannot use; `ERR_ARGUMENT` for
   *   new tensors whose names are taken or cannot be written.
   */
  layout(changes: ReadonlyMap<string, TensorChange>): readonly FileLayout[];
  /** Closes the files. */
  close(): Promise<void>;
}
