import type { DType } from '../tensor/dtype.js';

/** What is known of a tensor without reading it. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Size in the file. */
  readonly bytes: number;
  /** The file it lies in, relative to the checkpoint's folder. */
  readonly file: string;
  /** Where in that file its first byte lies. */
  readonly offset: number;
}

/** A model on disk, of any format: named tensors as bytes. It holds no tensor in memory. */
export interface Checkpoint {
  readonly format: 'safetensors';
  /** The folder or the single file that was opened, absolute. */
  readonly path: string;
  /** In the order of the files. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** `config.json` beside the weights, if there is one. */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /** Reads one tensor's bytes as they lie in the file. Throws `ERR_NOT_FOUND` or `ERR_CHECKPOINT_IO`. */
  read(name: string): Promise<Uint8Array>;
  /** Closes the files. */
  close(): Promise<void>;
}

/** Writes a copy of a checkpoint in which some tensors have other bytes of the same length. */
export interface CheckpointWriter {
  /** Replaces one tensor's bytes. Throws `ERR_SHAPE` when the length differs. */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Makes the copy appear at its path, whole. */
  commit(): Promise<void>;
  /** Removes all that was written. Harmless after `commit`. */
  discard(): Promise<void>;
}
