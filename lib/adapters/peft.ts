import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { open } from '../checkpoint/open.js';
import { type NewTensor, SafetensorsFile, writeSafetensors } from '../checkpoint/safetensors/file.js';
import { sniff } from '../checkpoint/sniff.js';
import { CheckpointError, describe, LowRankError } from '../errors.js';
import { makeFolderAtomically } from '../files/atomic.js';
import { exists, ioError, readSmallFile } from '../files/files.js';
import { MAX_CONFIG_BYTES } from '../files/limits.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import { DTYPE_BITS, type DType, isFloatDType, isReadableType } from '../tensor/dtype.js';
import type { LoraAdapter, LoraKind, LoraModule, LoraTensor } from './adapter.js';
import { type PeftConfig, readScalings } from './peft-config.js';

const CONFIG = 'adapter_config.json';
const WEIGHTS = 'adapter_model.safetensors';

/** PEFT's tensor names consist of the wrapped model's path, the module and the factor. */
const PREFIX = 'base_model.model.';
const FACTOR = /^base_model\.model\.(.+)\.lora_(?:(embedding_[AB])|[AB]\.weight)$/s;

/**
 * Reads a LoRA adapter in PEFT's form: a folder with `adapter_config.json` and
 * `adapter_model.safetensors`. All of it is held in memory. Tensors that are not a pair of factors
 * are kept in `others`; they prevent computing with the adapter, but not writing it back.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` if a file cannot be read;
 *   `ERR_CHECKPOINT_FORMAT` with the kinds `InvalidAdapterConfig`, `MissingFactorPair` (A without B
 *   or the reverse), `DuplicateModule` (a linear and an embedding pair of one name), `RankMismatch`
 *   (two factors that do not fit together, or not the rank that the configuration states), or those
 *   of the safetensors file.
 * @throws LowRankError `ERR_UNSUPPORTED` for other kinds of adapters and for pickled ones.
 */
export async function readPeftAdapter(folder: string): Promise<LoraAdapter> {
  await requireFolder(folder);
  const config = await readConfig(join(folder, CONFIG));
  const file = join(folder, WEIGHTS);
  if (!(await exists(file)) && (await exists(join(folder, 'adapter_model.bin')))) {
    throw new LowRankError('ERR_UNSUPPORTED', `${folder}: its weights are in adapter_model.bin, a pickle file`, {
      hint: 'Load it with PEFT and save it with save_pretrained, which writes safetensors.',
    });
  }
  await sniff(file);
  const weights = await SafetensorsFile.open(file);
  try {
    const tensors = new Map<string, NewTensor>();
    for (const span of weights.header.tensors) {
      tensors.set(span.name, { dtype: span.dtype, shape: span.shape, bytes: await weights.read(span) });
    }
    const { metadata } = weights.header;
    return { config, ...pairFactors(tensors, config, folder), metadata, source: { path: folder, config } };
  } finally {
    await weights.close();
  }
}

/**
 * Writes an adapter in PEFT's form to a new folder, which appears complete or not at all. For an
 * adapter that was read, the other files of its folder are copied, and so is `adapter_config.json`,
 * to the byte, unless the configuration was changed.
 *
 * @param target an absolute path that does not exist
 * @throws CheckpointError `ERR_OUTPUT` if it lies in the adapter's own folder; `ERR_CHECKPOINT_IO`.
 */
export async function writePeftAdapter(
  adapter: LoraAdapter,
  target: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await makeFolderAtomically(target, async (temporary) => {
    signal?.throwIfAborted();
    if (adapter.source === undefined) await makeFolder(temporary);
    else await copyFolder(adapter.source.path, temporary, signal);
    if (adapter.config !== adapter.source?.config) {
      await writeText(join(temporary, CONFIG), `${JSON.stringify(adapter.config, null, 2)}\n`);
    }
    // PEFT's own files have this entry, and transformers refuses files without it.
    const metadata = adapter.metadata ?? new Map([['format', 'pt']]);
    await writeSafetensors(join(temporary, WEIGHTS), tensorsOf(adapter), metadata, { replace: true });
    signal?.throwIfAborted();
  });
}

/** Returns the tensors of the file by their names in it. */
function tensorsOf({ modules, others }: LoraAdapter): Map<string, NewTensor> {
  const tensors = new Map([...others].map(([name, tensor]) => [name, storable(tensor, name)]));
  for (const { name, kind, a, b } of modules.values()) {
    for (const [factor, tensor] of [['A', a] as const, ['B', b] as const])
      tensors.set(tensorName(name, kind, factor), storable(tensor, name));
  }
  return tensors;
}

/** Returns a tensor in a type that safetensors has. */
function storable({ dtype, shape, bytes }: LoraTensor, name: string): NewTensor {
  if (Object.hasOwn(DTYPE_BITS, dtype)) return { dtype: dtype as DType, shape, bytes };
  if (isReadableType(dtype)) return { dtype: 'F32', shape, bytes: fromFloat32(toFloat32(bytes, dtype), 'F32') };
  throw new LowRankError('ERR_UNSUPPORTED', `${name}: a tensor of type ${dtype} cannot be stored in safetensors`);
}

function tensorName(module: string, kind: LoraKind, factor: 'A' | 'B'): string {
  return `${PREFIX}${module}.lora_${kind === 'embedding' ? `embedding_${factor}` : `${factor}.weight`}`;
}

function pairFactors(
  tensors: ReadonlyMap<string, NewTensor>,
  config: PeftConfig,
  folder: string,
): Pick<LoraAdapter, 'modules' | 'others'> {
  const scalings = readScalings(config, join(folder, CONFIG));
  const fault = (kind: string, message: string) =>
    new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, join(folder, WEIGHTS), message);
  const modules = new Map<string, LoraModule>();
  const others = new Map<string, NewTensor>();
  for (const [tensor, value] of tensors) {
    const [, name, embedding] = FACTOR.exec(tensor) ?? [];
    const kind: LoraKind = embedding === undefined ? 'linear' : 'embedding';
    const names = name === undefined ? [] : [tensorName(name, kind, 'A'), tensorName(name, kind, 'B')];
    const [a, b] = names.map((key) => tensors.get(key));
    if (name !== undefined && (a === undefined || b === undefined)) {
      throw fault(
        'MissingFactorPair',
        `has ${describe(tensor)}, but not ${describe(names.find((key) => !tensors.has(key)))}`,
      );
    }
    if (name === undefined || ![a, b].every((factor) => isMatrix(factor!))) {
      others.set(tensor, value);
      continue;
    }
    if (modules.get(name)?.kind === kind) continue;
    if (modules.has(name)) throw fault('DuplicateModule', `has the factors of ${describe(name)} twice`);
    const rank = a!.shape[0]!;
    if (rank !== b!.shape[1] || rank === 0) {
      const message = `${name}: lora_A of shape ${describe(a!.shape)} does not fit lora_B of shape ${describe(b!.shape)}`;
      throw fault('RankMismatch', message);
    }
    if (rank !== scalings.rankOf(name)) {
      throw fault('RankMismatch', `${name}: has rank ${rank}, but ${CONFIG} states ${scalings.rankOf(name)}`);
    }
    modules.set(name, { name, kind, a: a!, b: b!, rank, ...scalings.of(name, rank) });
  }
  return { modules, others };
}

/** Factors of convolutions have more dimensions, quantised ones have other types. */
function isMatrix({ dtype, shape }: NewTensor): boolean {
  return shape.length === 2 && !shape.includes(0) && isFloatDType(dtype);
}

async function requireFolder(folder: string): Promise<void> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(folder)).isDirectory();
  } catch (cause) {
    throw ioError(folder, 'cannot be opened', cause);
  }
  if (isFolder && (await exists(join(folder, CONFIG)))) return;
  const message = isFolder ? `has no ${CONFIG}` : 'is neither a folder nor a GGUF file';
  throw new CheckpointError('ERR_CHECKPOINT_IO', 'NoAdapter', folder, message, {
    hint: `Pass the folder with ${CONFIG} and ${WEIGHTS}, or an adapter in GGUF.`,
  });
}

async function readConfig(file: string): Promise<PeftConfig> {
  const text = Buffer.from(await readSmallFile(file, MAX_CONFIG_BYTES)).toString('utf8');
  const fault = (message: string, cause?: unknown) =>
    new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidAdapterConfig', file, message, { cause });
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw fault(`is not valid JSON: ${describe((cause as Error).message)}`, cause);
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) throw fault('expected a JSON object');
  const { peft_type } = config as PeftConfig;
  if (peft_type !== 'LORA') {
    throw new LowRankError('ERR_UNSUPPORTED', `${file}: peft_type ${describe(peft_type)}, only "LORA" is read`);
  }
  return config as PeftConfig;
}

/**
 * Copies a folder unchanged. The checkpoint's own copy also handles links, permissions and files to
 * leave out.
 */
async function copyFolder(folder: string, to: string, signal: AbortSignal | undefined): Promise<void> {
  const weights = await open(join(folder, WEIGHTS));
  try {
    const whole: Checkpoint = {
      format: weights.format,
      path: folder,
      main: weights.main,
      tensors: weights.tensors,
      config: undefined,
      read: (name) => weights.read(name),
      layout: (changes) => weights.layout(changes),
      close: () => weights.close(),
    };
    await withCopy(whole, to, { signal }, async () => undefined);
  } finally {
    await weights.close();
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (cause) {
    throw ioError(folder, 'cannot be created', cause);
  }
}

async function writeText(file: string, text: string): Promise<void> {
  try {
    // The copy of a read-only file could not be overwritten.
    await rm(file, { force: true });
    await writeFile(file, text, { flush: true });
  } catch (cause) {
    throw ioError(file, 'cannot be written', cause);
  }
}
