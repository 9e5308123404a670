/**
 * Every limit on files from untrusted sources. A file beyond a limit is refused before memory is
 * spent on it. No published model comes near them, except for the header's limit, which is the
 * format's own.
 */

/**
 * Bytes of a header. For safetensors this is the reference implementation's own limit, for reading
 * and for writing. A GGUF header also holds the words of the tokenizer: a quarter of a million of
 * them take ten million bytes.
 */
export const MAX_HEADER_BYTES = 100_000_000;

/**
 * Tensors in one file. A header of the largest allowed size could name over a million tiny ones,
 * which would take a gigabyte here. Mixture-of-experts models of a trillion parameters have under
 * 200,000 in all files.
 */
export const MAX_TENSORS = 1_000_000;

/** Dimensions of one tensor: what PyTorch and NumPy 2 can represent. */
export const MAX_DIMENSIONS = 64;

/**
 * Nesting of objects and arrays, so that a header of brackets cannot exhaust the stack. Real
 * headers need 3.
 */
export const MAX_JSON_DEPTH = 100;

/**
 * Bytes of `model.safetensors.index.json`: it repeats the names of the headers, so it gets a
 * header's limit.
 */
export const MAX_INDEX_BYTES = MAX_HEADER_BYTES;

/**
 * Files of one checkpoint. Each is held open, and an operating system allows a process only so
 * many.
 */
export const MAX_SHARDS = 10_000;

/**
 * Bytes of `config.json`. Real ones are a few kilobytes, some hundred with long tables of labels.
 */
export const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

/** Files and folders in the copy of a checkpoint's folder, so that `/` is not copied by mistake. */
export const MAX_COPIED_ENTRIES = 100_000;

/** Nesting of folders in a copied folder. */
export const MAX_FOLDER_DEPTH = 32;

/**
 * Bytes of the journal of an unfinished job. Each tensor takes a line of a few kilobytes, even with
 * the certificates of many experts, so this is enough for a hundred thousand.
 */
export const MAX_JOURNAL_BYTES = 512 * 1024 * 1024;

/**
 * Tensors in one GGUF file. All experts of a layer are one tensor, so the largest models have some
 * thousands. The limit keeps the time to read a header below a second.
 */
export const MAX_GGUF_TENSORS = 100_000;

/** Dimensions of a GGUF tensor: ggml's own limit. */
export const MAX_GGUF_DIMENSIONS = 4;

/**
 * Bytes of a tensor's name in GGUF. The format allows 64; builds of ggml for image models allow
 * 128, and files with such names exist.
 */
export const MAX_GGUF_NAME_BYTES = 128;

/** Bytes of a metadata key in GGUF: the format's own limit. */
export const MAX_GGUF_KEY_BYTES = 65_535;

/** Metadata keys of one GGUF file. Real files have some dozens. */
export const MAX_GGUF_KEYS = 100_000;

/**
 * Nesting of arrays in GGUF metadata, so that they cannot exhaust the stack. Real arrays hold no
 * arrays.
 */
export const MAX_GGUF_ARRAY_DEPTH = 8;

/**
 * `general.alignment` of GGUF. Padding is allocated in memory; real files use 32, and no memory
 * page is larger.
 */
export const MAX_GGUF_ALIGNMENT = 65_536;

/**
 * Bytes of a GGUF header that are read first; a longer header is read again, with four times as
 * much each time. A header has some tens of kilobytes without the tokenizer's words, and some
 * megabytes with them.
 */
export const FIRST_GGUF_HEADER_BYTES = 1024 * 1024;

/**
 * Protobuf fields of an ONNX file, including those of its nodes but no data. Each takes time, and a
 * file of 1 GB could hold half a billion. Graphs of language models have some 100,000.
 */
export const MAX_PROTOBUF_FIELDS = 4_000_000;

/**
 * Bytes of a name or path in an ONNX file. Names that exporters derive from module paths have some
 * hundred.
 */
export const MAX_PROTOBUF_TEXT_BYTES = 4096;

/**
 * Nesting of graphs in an ONNX file (branches of If, bodies of Loop). Real files have 1 or 2 levels
 * below the top.
 */
export const MAX_GRAPH_DEPTH = 16;

/** Nesting of messages in an ONNX file: the limit of every protobuf parser. */
export const MAX_MESSAGE_DEPTH = 100;

/**
 * Nodes of an ONNX file, including those of inner graphs. Language and image models have under
 * 20,000.
 */
export const MAX_GRAPH_NODES = 100_000;

/**
 * Inputs or outputs of one ONNX node. A branch that returns the caches of all layers has some
 * hundred.
 */
export const MAX_NODE_VALUES = 10_000;

/** Initialisers of an ONNX file. A graph has fewer constants than nodes. */
export const MAX_INITIALIZERS = 50_000;

/**
 * Entries that describe the location of an ONNX tensor's external data. The format has four keys.
 */
export const MAX_EXTERNAL_ENTRIES = 64;

/** Sets of operators that a model imports. Real ones import two or three. */
export const MAX_OPERATOR_SETS = 1000;

/** Threads of a job. No machine has as many cores. */
export const MAX_THREADS = 65_536;

/** Shards of a plan. The largest job arrays of schedulers have some ten thousand tasks. */
export const MAX_PLAN_SHARDS = 100_000;

/** Bytes of a folder's lock file, which takes a few hundred. */
export const MAX_LOCK_BYTES = 64 * 1024;

/** Bytes of a search log: mostly singular values, some kilobytes for each matrix of the grid. */
export const MAX_LOG_BYTES = 512 * 1024 * 1024;

/** Bytes of a plan for many machines: a few hundred for each tensor, and no model has a million. */
export const MAX_PLAN_BYTES = 512 * 1024 * 1024;

/**
 * Bytes of the record of one task of a plan: certificates of all experts of a layer take some
 * hundred kilobytes.
 */
export const MAX_RECORD_BYTES = 64 * 1024 * 1024;

/** Bytes of a file of texts to compare models on: a few hundred texts are used. */
export const MAX_TEXTS_BYTES = 256 * 1024 * 1024;
