import type { Checkpoint, Format, Place } from './checkpoint.js';

/** What a weight file can be; `index` is the list of a safetensors checkpoint's shards. */
export type Content = Format | 'index';

/** Refuses a file that is known to be something else, by its first bytes, with an error that tells what it is. */
export type FileCheck = (file: string) => Promise<unknown>;

/** A container format: all that the rest of the package asks about formats. */
export interface FormatDescription {
  readonly name: Format;
  /** Its name in texts. */
  readonly label: string;
  /** How its weight files end. */
  readonly ending: `.${string}`;
  /** Whether tensors are called by the module paths of PyTorch, which adapter files use. */
  readonly hasModuleNames: boolean;
  /** Recognises a file by its first bytes; undefined for what is certainly or probably something else. */
  sniff(start: Buffer): Content | undefined;
  /**
   * The models that a folder may mean, relative to it; more than one where none takes precedence.
   *
   * @param names of the visible files in the folder, sorted
   */
  models(folder: string, names: readonly string[]): Promise<readonly string[]>;
  /**
   * Opens a model.
   *
   * @param path the path that was opened, absolute: `file`, or a folder that holds it
   * @param file a file that {@link sniff} recognised
   * @param check for the other files of the same model
   */
  open(path: string, file: string, check: FileCheck): Promise<Checkpoint>;
  /**
   * Reads where the tensors of one weight file lie now. Undefined for a format whose files can only be read together, by
   * {@link open}.
   */
  readonly placesIn?: (file: string) => Promise<readonly NamedPlace[]>;
}

export interface NamedPlace extends Place {
  readonly name: string;
}
