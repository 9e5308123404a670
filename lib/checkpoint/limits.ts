/**
 * Every limit on files that somebody else wrote. A file beyond one of them is refused before memory is spent on it.
 * No published model comes near them, apart from the header's, which is the format's own.
 */

/** Bytes of a safetensors header, for reading and for writing. The reference implementation's own limit. */
export const MAX_HEADER_BYTES = 100_000_000;

/**
 * Tensors in one safetensors file. A header of the largest allowed size could name over a million tiny ones, which
 * would take a gigabyte here; mixture-of-experts models of a trillion parameters have under 200,000 in all files.
 */
export const MAX_TENSORS = 1_000_000;

/** Dimensions of one tensor: what PyTorch and NumPy 2 can represent. */
export const MAX_DIMENSIONS = 64;

/** Objects and arrays inside each other, so that a header of brackets cannot exhaust the stack. A real one needs 3. */
export const MAX_JSON_DEPTH = 100;

/** Bytes of `model.safetensors.index.json`: it repeats the names of the headers, so it gets a header's limit. */
export const MAX_INDEX_BYTES = MAX_HEADER_BYTES;

/** Files of one checkpoint. Each is held open, and an operating system allows a process only so many. */
export const MAX_SHARDS = 10_000;

/** Bytes of `config.json`. Real ones are a few kilobytes, some hundred with long tables of labels. */
export const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/** Files and folders that a copy of a checkpoint's folder takes along, so that `/` is not copied by mistake. */
export const MAX_COPIED_ENTRIES = 100_000;

/** Folders inside each other in a copied folder. */
export const MAX_FOLDER_DEPTH = 32;
