import type { ByteRange, Checkpoint, Format } from './checkpoint.js';

/** The content of a weight file; `index` is the list of a safetensors checkpoint's shards. */
export type FileContent = Format | 'index';

/** Refuses a file that its first bytes identify as something else, with an error that names it. */
export type FileCheck = (file: string) => Promise<unknown>;

/** A container format: everything that other code needs to know about formats. */
export interface FormatDescription {
  readonly name: Format;
  /** Its name in texts. */
  readonly label: string;
  /** The ending of its weight files. */
  readonly ending: `.${string}`;
  /** Whether tensors have the module paths of PyTorch as names. */
  readonly hasModuleNames: boolean;
  /** Whether there are adapter files whose modules are named like the tensors. */
  readonly hasAdapters: boolean;
  /**
   * Recognises a file by its first bytes; returns undefined if it is certainly or probably
   * something else.
   */
  sniff(start: Buffer): FileContent | undefined;
  /**
   * Lists the models that a folder may mean, relative to it; several if none takes precedence.
   *
   * @param names of the visible files in the folder, sorted
   */
  models(folder: string, names: readonly string[]): Promise<readonly string[]>;
  /**
   * Opens a model.
   *
   * @param path the absolute path that was opened: `file`, or a folder that contains it
   * @param file a file that {@link sniff} recognised
   * @param check for the other files of the same model
   */
  open(path: string, file: string, check: FileCheck): Promise<Checkpoint>;
  /**
   * Reads the current positions of the tensors in one weight file. Undefined for a format whose
   * files can only be read together, by {@link open}.
   */
  readonly placesIn?: (file: string) => Promise<readonly NamedRange[]>;
}

/** The range of a tensor in its file. */
export interface NamedRange extends ByteRange {
  readonly name: string;
}
