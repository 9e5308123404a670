/**
 * Every limit on files that somebody else wrote. A file beyond one of them is refused before memory is spent on it.
 * No published model comes near them, apart from the header's, which is the format's own.
 */

/**
 * Bytes of a header. For safetensors it is the reference implementation's own limit, for reading and for writing. A GGUF
 * header holds the words of the tokenizer too: a quarter of a million of them are ten million bytes.
 */
export const MAX_HEADER_BYTES = 100_000_000;

/**
 * Tensors in one file. A header of the largest allowed size could name over a million tiny ones, which
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

/**
 * Bytes of the journal of an unfinished job: a line for each tensor, a few kilobytes even with the certificates of many
 * experts, so this is a hundred thousand of them.
 */
export const MAX_JOURNAL_BYTES = 512 * 1024 * 1024;

/**
 * Tensors in one GGUF file. All experts of a layer lie in one tensor, so the largest models have some thousands; the
 * limit keeps the time that a header takes below a second.
 */
export const MAX_GGUF_TENSORS = 100_000;

/** Dimensions of a GGUF tensor: ggml's own limit. */
export const MAX_GGUF_DIMENSIONS = 4;

/**
 * Bytes of a tensor's name in GGUF. The format says 64; builds of ggml for image models take 128, and have files with
 * such names.
 */
export const MAX_GGUF_NAME_BYTES = 128;

/** Bytes of a metadata key in GGUF: the format's own limit. */
export const MAX_GGUF_KEY_BYTES = 65_535;

/** Metadata keys of one GGUF file. Real ones have some dozens. */
export const MAX_GGUF_KEYS = 100_000;

/** Arrays inside each other in GGUF metadata, so that they cannot exhaust the stack. Real ones hold no arrays. */
export const MAX_GGUF_ARRAY_DEPTH = 8;

/** `general.alignment` of GGUF. Padding up to it is made in memory; real files have 32, and no memory page is larger. */
export const MAX_GGUF_ALIGNMENT = 65_536;

/**
 * Bytes that a GGUF header is read in at first; a longer one is read again, four times as much each time. Without the
 * tokenizer's words a header has some tens of kilobytes, with them some megabytes.
 */
export const FIRST_GGUF_HEADER_BYTES = 1024 * 1024;

/**
 * Protobuf fields of an ONNX file, those of its nodes included, data not: each takes time, and a file of 1 GB could hold
 * half a billion. Graphs of language models have some 100,000.
 */
export const MAX_PROTOBUF_FIELDS = 4_000_000;

/** Bytes of a name or path in an ONNX file. The names that exporters make of module paths have some hundred. */
export const MAX_PROTOBUF_TEXT_BYTES = 4096;

/** Graphs inside each other (the branches of If, the bodies of Loop) in an ONNX file. Real ones have 1 or 2 below the top. */
export const MAX_GRAPH_DEPTH = 16;

/** Messages inside each other in an ONNX file: the limit of every protobuf parser. */
export const MAX_MESSAGE_DEPTH = 100;

/** Nodes of an ONNX file, those of inner graphs included. Models of language and of images have under 20,000. */
export const MAX_GRAPH_NODES = 100_000;

/** Inputs, or outputs, of one ONNX node. A branch that returns the caches of all layers has some hundred. */
export const MAX_NODE_VALUES = 10_000;

/** Initialisers of an ONNX file. A graph has fewer constants than nodes. */
export const MAX_INITIALIZERS = 50_000;

/** Entries that describe where an ONNX tensor's external data lie. The format knows four keys. */
export const MAX_EXTERNAL_ENTRIES = 64;

/** Threads of a job. No machine has as many cores. */
export const MAX_THREADS = 65_536;

/** Shards of a plan. The largest arrays of schedulers have a few ten thousand tasks. */
export const MAX_PLAN_SHARDS = 100_000;

/** Bytes of the lock of a folder: a few hundred. */
export const MAX_LOCK_BYTES = 64 * 1024;

/** Bytes of a search's log: mostly singular values, some kilobytes for each matrix of the grid. */
export const MAX_LOG_BYTES = 512 * 1024 * 1024;

/** Bytes of a plan for many machines: a few hundred for each tensor, and no model has a million. */
export const MAX_PLAN_BYTES = 512 * 1024 * 1024;

/** Bytes of what one task of a plan says of its result: certificates of all experts of a layer take some hundred kilobytes. */
export const MAX_RECORD_BYTES = 64 * 1024 * 1024;
