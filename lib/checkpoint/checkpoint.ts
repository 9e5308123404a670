import type { StoredType } from '../tensor/dtype.js';

export type Format = 'safetensors' | 'gguf' | 'onnx';

/** Which way a weight W lies: its layer computes x W^T (`out x in`, PyTorch's Linear) or x W (`in x out`, Conv1D, MatMul). */
export type Orientation = 'out x in' | 'in x out';

/** What is known of a tensor without reading it. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: StoredType;
  /** Row-major, as PyTorch counts dimensions; formats that count them the other way round are turned when read. */
  readonly shape: readonly number[];
  /** Size in the file. */
  readonly bytes: number;
  /** The file it lies in, relative to the checkpoint's folder. */
  readonly file: string;
  /** Where in that file its first byte lies. */
  readonly offset: number;
  /**
   * The name by which the model's family knows it, where the file's own name says nothing: ONNX calls a weight
   * `onnx::MatMul_123` and only the node that uses it tells its place in the model.
   */
  readonly alias?: string;
  /** Which way round the file keeps it, where the file tells; undefined where only the model's family knows. */
  readonly orientation?: Orientation;
  /**
   * Who uses it, where the file tells and there are several: modules, or operators that tell no module. An edit changes
   * the weight for all of them.
   */
  readonly users?: readonly string[];
}

/** Tensors of a file that can be neither read nor edited here, so that they are not listed. */
export interface UnlistedTensors {
  /** Where they are, to complete "3 matrices lie ...". */
  readonly where: string;
  readonly tensors: number;
  readonly bytes: number;
  /** What to do to have them listed. */
  readonly hint: string;
}

/** Where a tensor lies in a file. */
export interface Place {
  readonly offset: number;
  readonly bytes: number;
}

/** A stretch of a file that is written anew. */
export type FilePart =
  /** Bytes of the source's file `file`, unchanged. */
  | { readonly kind: 'copy'; readonly file: string; readonly offset: number; readonly bytes: number }
  /** Bytes made here: headers, padding. */
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

/** What becomes of a tensor in an edited copy. */
export type TensorChange =
  /** It keeps its name and shape, and gets new bytes of this type. */
  | { readonly as: StoredType }
  /** These take its place, such as the two factors of a matrix. One of them may keep its name. */
  | { readonly by: readonly NewTensorInfo[] };

/** One file of an edited copy whose bytes are not all the source's. */
export interface FileLayout {
  /** Its path with `/`, relative to the checkpoint's folder, and the same as in the source if it is there. */
  readonly file: string;
  /** What it consists of, in order. Undefined for a copy of the source's file in which edited tensors keep their places. */
  readonly parts: readonly FilePart[] | undefined;
  /** Where its edited and new tensors lie, by the names that they have in the copy. */
  readonly places: ReadonlyMap<string, Place>;
}

/** A model on disk, of any format: named tensors as bytes. It holds no tensor in memory. */
export interface Checkpoint {
  readonly format: Format;
  /** The folder or the single file that was opened, absolute. */
  readonly path: string;
  /**
   * What opens as this checkpoint even where a folder holds several: the .onnx file, the first .gguf file, of safetensors what
   * was opened, which is the index where `path` is its folder and opens as another model. Absolute; `path` or in it.
   */
  readonly main: string;
  /** In the order of the files. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Left out where all tensors of the file are in `tensors`. */
  readonly unlisted?: readonly UnlistedTensors[];
  /** `config.json` beside the weights, or what the metadata of GGUF say in its words; undefined without either. */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /** Reads one tensor's bytes as they lie in the file. Throws `ERR_NOT_FOUND` or `ERR_CHECKPOINT_IO`. */
  read(name: string): Promise<Uint8Array>;
  /**
   * Lays out a copy in which tensors change: its weight files, and files that list the tensors, such as an index of shards.
   *
   * @param changes by the names of the source's tensors
   * @throws LowRankError `ERR_NOT_FOUND`; `ERR_UNSUPPORTED` for a type that the format, or this tensor, cannot be stored as,
   * and for new tensors that the format has no use for; `ERR_ARGUMENT` for new tensors whose names are taken or cannot be
   * written.
   */
  layout(changes: ReadonlyMap<string, TensorChange>): readonly FileLayout[];
  /** Closes the files. */
  close(): Promise<void>;
}
