import { isUtf8 } from 'node:buffer';
import { basename } from 'node:path';

/** An unsupported format: what it is, to complete "... is", and what to do. */
export interface OtherFormat {
  readonly what: string;
  readonly hint: string;
}

const TO_SAFETENSORS = (load: string) =>
  `Convert it, in Python: safetensors.torch.save_file(${load}, "model.safetensors").`;
const STATE_DICT = `${TO_SAFETENSORS('torch.load(path, map_location="cpu", weights_only=True)')} If the file contains more than weights, save its state dict.`;
const TRANSFORMERS =
  'Convert its folder, in Python: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(out, safe_serialization=True), with the class of the model.';
const OLD_TRANSFORMERS = (flag: string) =>
  `Convert its folder with transformers before version 5, in Python: from_pretrained(folder, ${flag}=True), then save_pretrained(out, safe_serialization=True).`;
const TENSORFLOW = 'TensorFlow and Core ML write such files. Convert the model to ONNX.';
const UNPACK = 'Unpack it first.';

/**
 * The names of pickled weights in Hugging Face's model library: `pytorch_model.bin`, or shards of
 * it.
 */
const PYTORCH_MODEL = /^pytorch_model.*\.bin$/;

const pickled = (file: string) => (PYTORCH_MODEL.test(basename(file)) ? TRANSFORMERS : STATE_DICT);

/**
 * Identifies a format by a file's first bytes.
 *
 * @param start some hundred of them, one character each
 * @param end the last ones, where a zip archive has its table of contents
 * @returns undefined for an unknown format
 */
export function otherFormat(file: string, start: string, end: string): OtherFormat | undefined {
  if (start.startsWith('PK\x03\x04')) return zipFormat(file, start, end);
  const other = BY_MAGIC.find(({ magic }) => magic.test(start));
  if (other === undefined) return undefined;
  return { what: other.what, hint: typeof other.hint === 'string' ? other.hint : other.hint(file) };
}

function zipFormat(file: string, start: string, end: string): OtherFormat {
  if (end.includes('/constants.pkl') || end.includes('/code/')) {
    return { what: 'a TorchScript model', hint: TO_SAFETENSORS('torch.jit.load(path).state_dict()') };
  }
  if (end.includes('.npy')) return { what: 'an archive of NumPy arrays (.npz)', hint: NUMPY_HINT };
  if (end.includes('model.weights.h5')) return { what: 'a Keras model', hint: KERAS_HINT };
  // The first entry of what torch.save writes; a truncated file has no table of contents.
  if (/data\.pkl/.test(start + end) || /\.(?:bin|pt|pth|ckpt)$/.test(file)) {
    return { what: 'a zip file of pickled tensors, as written by torch.save', hint: pickled(file) };
  }
  return { what: 'a zip file', hint: `${UNPACK} If torch.save wrote it: ${pickled(file)}` };
}

const NUMPY_HINT = 'Convert it, in Python: safetensors.numpy.save_file(dict(numpy.load(path)), "model.safetensors").';
const KERAS_HINT = 'Convert the model to ONNX, or save its weights with safetensors.numpy.save_file.';

const BY_MAGIC: readonly {
  readonly magic: RegExp;
  readonly what: string;
  readonly hint: string | ((file: string) => string);
}[] = [
  {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the first bytes of such files.
    magic: /^\x80[\x02-\x05]/,
    what: 'a pickle file, as written by torch.save before PyTorch 1.6',
    hint: pickled,
  },
  {
    magic: /^.{4}ORTM/s,
    what: "a model in onnxruntime's own format (.ort)",
    hint: 'Use the .onnx file that it was made from.',
  },
  {
    magic: /^.{4}TFL3/s,
    what: 'a TensorFlow Lite model',
    hint: 'Convert it to ONNX: python -m tf2onnx.convert --tflite model.tflite --output model.onnx.',
  },
  {
    magic: /^\x89HDF\r\n/,
    what: 'an HDF5 file, as Keras and TensorFlow save weights',
    hint: (file) => (basename(file) === 'tf_model.h5' ? OLD_TRANSFORMERS('from_tf') : KERAS_HINT),
  },
  {
    magic: /^\x93NUMPY/,
    what: 'a NumPy array',
    hint: 'Convert it, in Python: safetensors.numpy.save_file({"name": numpy.load(path)}, "model.safetensors").',
  },
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the first bytes of such files.
  { magic: /^\x1f\x8b/, what: 'a gzip file', hint: UNPACK },
  { magic: /^\x28\xb5\x2f\xfd/, what: 'a Zstandard file', hint: UNPACK },
  { magic: /^7z\xbc\xaf/, what: 'a 7z archive', hint: UNPACK },
  { magic: /^.{257}ustar/s, what: 'a tar archive', hint: UNPACK },
  {
    magic: /^(?:lmgg|fmgg|tjgg|algg)/,
    what: 'a GGML model from before GGUF',
    hint: "Convert it to GGUF with llama.cpp's convert_llama_ggml_to_gguf.py, or fetch the model as GGUF.",
  },
  {
    // A map whose first key is a name.
    magic: /^(?:[\x81-\x8f]|\xde..)(?:[\xa1-\xbf]|\xd9.)[\w./-]/s,
    what: 'a MessagePack file, as Flax saves weights',
    hint: OLD_TRANSFORMERS('from_flax'),
  },
  {
    // A message's first field: a schema's version, then a message (SavedModel, Core ML), or a node
    // with its name (GraphDef).
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the first bytes of such files.
    magic: /^(?:\x08[\x01-\x7f]\x12|\x0a[\x00-\xff]{1,3}\x0a[\x01-\x7f][\w./-]+\x12)/,
    what: 'a protobuf file, but not an ONNX model',
    hint: TENSORFLOW,
  },
];

/** Files with weights in unsupported formats, by name. */
const BY_NAME: readonly { readonly name: RegExp; readonly hint: string }[] = [
  { name: PYTORCH_MODEL, hint: TRANSFORMERS },
  { name: /^tf_model.*\.h5$/, hint: OLD_TRANSFORMERS('from_tf') },
  { name: /^flax_model.*\.msgpack$/, hint: OLD_TRANSFORMERS('from_flax') },
  { name: /^(?!training_args|optimizer|scheduler|rng_state|scaler).*\.(?:bin|pt|pth|ckpt|pkl)$/, hint: STATE_DICT },
  { name: /\.np[yz]$/, hint: NUMPY_HINT },
  { name: /\.(?:h5|hdf5|keras)$/, hint: KERAS_HINT },
  { name: /\.msgpack$/, hint: OLD_TRANSFORMERS('from_flax') },
  { name: /\.(?:pb|tflite|mlmodel|mlpackage)$/, hint: TENSORFLOW },
  { name: /\.ort$/, hint: 'Use the .onnx file that it was made from.' },
];

/**
 * Returns those names in a folder that are weights in one of these formats, and what to do with the
 * first.
 */
export function otherWeights(names: readonly string[]): { names: readonly string[]; hint: string } | undefined {
  for (const { name: pattern, hint } of BY_NAME) {
    const found = names.filter((name) => pattern.test(name));
    if (found.length > 0) return { names: found, hint };
  }
  return undefined;
}

/**
 * Whether a file with this start is text: a table, a page, or a server's message saved in a model's
 * place.
 */
export function isText(start: Uint8Array, isWhole: boolean): boolean {
  if (start.length === 0) return false;
  // UTF-16 with its mark.
  if ((start[0] === 0xff && start[1] === 0xfe) || (start[0] === 0xfe && start[1] === 0xff)) return true;
  // No character may be cut at the end: it has at most 4 bytes.
  const ends = isWhole ? [0] : [0, 1, 2, 3];
  if (!ends.some((cut) => isUtf8(start.subarray(0, start.length - cut)))) return false;
  return start.every((byte) => byte >= 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0c || byte === 0x0d);
}
