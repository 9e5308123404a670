import { CheckpointError, LowRankError } from '../errors.js';
import { openFile, readAt } from './files.js';
import { mayBeOnnx } from './onnx/sniff.js';

/** What a weight file can be; `index` is the list of a safetensors checkpoint's shards. */
export type Content = 'safetensors' | 'index' | 'gguf' | 'onnx';

/**
 * Says what a file is by its first bytes. What is nothing known is taken for safetensors, whose reader then tells the fault.
 *
 * @throws {@link CheckpointError} kind `GitLfsPointer`; {@link LowRankError} `ERR_UNSUPPORTED` for what is known to be
 * something else.
 */
export async function sniff(file: string): Promise<Content> {
  const { handle, size } = await openFile(file);
  let start: Buffer;
  try {
    start = Buffer.from(await readAt(handle, file, 0, Math.min(size, 64)));
  } finally {
    await handle.close();
  }
  const text = start.toString('latin1');
  // As a length of a safetensors header these letters would be beyond its limit.
  if (text.startsWith('GGUF')) return 'gguf';
  // A header's length of at most 100 million leaves the upper half of its 8 bytes zero; no text has zeros there.
  if (start.length >= 8 && start.readUInt32LE(4) === 0) return 'safetensors';
  if (text.trimStart().startsWith('{')) return 'index';
  if (mayBeOnnx(start)) return 'onnx';
  if (text.startsWith('version https://git-lfs')) {
    throw new CheckpointError(
      'ERR_CHECKPOINT_FORMAT',
      'GitLfsPointer',
      file,
      'is a pointer of Git LFS, not the weights',
      {
        hint: 'Run `git lfs pull` in the folder.',
      },
    );
  }
  const other = OTHER_FORMATS.find(({ magic }) => magic.test(text));
  if (other !== undefined) throw new LowRankError('ERR_UNSUPPORTED', `${file}: is ${other.what}`, { hint: other.hint });
  return 'safetensors';
}

const OTHER_FORMATS = [
  {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the first bytes of such files.
    magic: /^(PK\x03\x04|\x80[\x02-\x05])/,
    what: 'a zip or pickle file, as PyTorch saves it',
    hint: 'Save it as safetensors: in Python, save_pretrained(folder, safe_serialization=True).',
  },
  {
    magic: /^.{4}ORTM/s,
    what: "a model in onnxruntime's own format (.ort)",
    hint: 'Give the .onnx file that it was made from.',
  },
  { magic: /^.{4}TFL3/s, what: 'a TensorFlow Lite model', hint: 'Convert it to ONNX.' },
  {
    // A message's first field: a schema's version, then a message (SavedModel, Core ML), or a node with its name (GraphDef).
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the first bytes of such files.
    magic: /^(?:\x08[\x01-\x7f]\x12|\x0a[\x00-\xff]{1,3}\x0a[\x01-\x7f][\w./-]+\x12)/,
    what: 'a protobuf file, but no ONNX model',
    hint: 'TensorFlow and Core ML write such files. Convert the model to ONNX.',
  },
];
