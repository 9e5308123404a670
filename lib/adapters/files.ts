import { dirname } from 'node:path';
import { CheckpointError } from '../errors.js';
import { absolutePath, exists, openFile, readAt, refuseExisting, statusOf } from '../files/files.js';
import { requireSpace } from '../files/space.js';
import { abortSignal, checkOptions } from '../options.js';
import { type LoraAdapter, requireAdapter } from './adapter.js';
import { readGgufAdapter, writeGgufAdapter } from './gguf.js';
import { readPeftAdapter, writePeftAdapter } from './peft.js';

/**
 * Reads a LoRA adapter: a folder with `adapter_config.json` and `adapter_model.safetensors`, as
 * PEFT writes it, or a GGUF file for llama.cpp. All of it is held in memory. Tensors that are not a
 * pair of factors are kept in `others`; they prevent computing with the adapter, but not writing it
 * back.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` if a file cannot be read;
 *   `ERR_CHECKPOINT_FORMAT` with the kinds `InvalidAdapterConfig`, `MissingFactorPair` (A without B
 *   or the reverse), `DuplicateModule` (a linear and an embedding pair of one name), `RankMismatch`
 *   (two factors that do not fit together, or not the rank that the configuration states), or those
 *   of the safetensors or GGUF file.
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` for other kinds of adapters and for pickled ones.
 */
export async function readAdapter(path: string): Promise<LoraAdapter> {
  const absolute = absolutePath(path);
  return (await isGguf(absolute)) ? readGgufAdapter(absolute) : readPeftAdapter(absolute);
}

/**
 * Writes an adapter in the form that it has, see {@link LoraAdapter.architecture}: a new folder in
 * PEFT's form or a new GGUF file, which appears complete or not at all. Of a folder that was read,
 * the other files are copied, and so is `adapter_config.json`, to the byte, unless the
 * configuration was changed. To change the form, use {@link convertLora}.
 *
 * @throws {@link CheckpointError} `ERR_OUTPUT` if `out` already exists or lies in the adapter's own
 *   folder; `ERR_CHECKPOINT_IO`.
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` for a tensor that the form cannot hold.
 */
export async function writeAdapter(
  adapter: LoraAdapter,
  out: string,
  options?: { signal?: AbortSignal | undefined },
): Promise<void> {
  const { signal } = checkOptions(options, { signal: abortSignal }, 'writeAdapter');
  requireAdapter(adapter);
  const target = absolutePath(out);
  await requireNewOutput(target, adapterBytes(adapter));
  signal?.throwIfAborted();
  const { architecture } = adapter;
  if (architecture === undefined) await writePeftAdapter(adapter, target, signal);
  else await writeGgufAdapter({ ...adapter, architecture }, target);
}

/**
 * Checks before a long job that {@link writeAdapter} can write to `out`.
 *
 * @param bytes how many it will write, as far as known
 * @throws CheckpointError `ERR_OUTPUT` if it already exists or its parent folder is missing;
 *   `ERR_CHECKPOINT_IO`, kind `NoSpace`.
 */
export async function requireNewOutput(out: string, bytes = 0): Promise<void> {
  const target = absolutePath(out);
  await refuseExisting(target);
  if (await exists(dirname(target))) return requireSpace(target, { bytes });
  throw new CheckpointError('ERR_OUTPUT', 'NoFolder', target, `the folder ${dirname(target)} does not exist`, {
    hint: 'Create it first.',
  });
}

/** Returns the bytes of an adapter's tensors; the other files are small. */
function adapterBytes({ modules, others }: LoraAdapter): number {
  const factors = [...modules.values()].flatMap(({ a, b }) => [a, b]);
  return [...factors, ...others.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
}

async function isGguf(path: string): Promise<boolean> {
  if (!(await exists(path)) || !(await statusOf(path)).isFile()) return false;
  const { handle, size } = await openFile(path);
  try {
    return Buffer.from(await readAt(handle, path, 0, Math.min(4, size))).toString('latin1') === 'GGUF';
  } finally {
    await handle.close();
  }
}
