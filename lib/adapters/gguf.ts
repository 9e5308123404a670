import type { GgufValue } from '../checkpoint/gguf/encode.js';
import { GgufFile } from '../checkpoint/gguf/file.js';
import { type GgmlType, isGgmlType } from '../checkpoint/gguf/types.js';
import { type NewGgufTensor, writeGguf } from '../checkpoint/gguf/write.js';
import { CheckpointError, describe, LowRankError } from '../errors.js';
import { toFloat32 } from '../tensor/convert.js';
import { isReadableType } from '../tensor/dtype.js';
import {
  factorsOf,
  type LoraAdapter,
  type LoraModule,
  type LoraTensor,
  stored,
  transpose,
  writableType,
} from './adapter.js';
import { configWithRanks, type PeftConfig } from './peft-config.js';

/*
 * An adapter in llama.cpp's form: a GGUF file with general.type "adapter", adapter.type "lora", the
 * architecture of the model, and adapter.lora.alpha. A weight W [out, in] has the factors `<name of
 * W>.lora_a` [rank, in] and `.lora_b` [out, rank]; its update is alpha / rank B A. For the
 * embedding, A is stored transposed. Without alpha, or with 0, the update is B A. Source:
 * llama.cpp's src/llama-adapter.cpp and convert_lora_to_gguf.py.
 */

const ALPHA = 'adapter.lora.alpha';
/** Keys that are written anew, with the values that they have in every adapter. */
const KINDS = { 'general.type': 'adapter', 'adapter.type': 'lora' } as const;
const ARCHITECTURE = 'general.architecture';
/** An adapter with it acts only after these tokens. */
const INVOCATION = 'adapter.alora.invocation_tokens';

/** The file's alpha is a float32. */
const ROUNDING = 2 ** -22;

const FACTOR = /^(.+)\.weight\.lora_([ab])$/s;
const EMBEDDING = 'token_embd';

/**
 * Reads an adapter in GGUF.
 *
 * @throws CheckpointError the kinds of a GGUF header; `NoAdapter` for another GGUF file;
 *   `InvalidAdapterConfig`, `MissingFactorPair`, `RankMismatch`.
 * @throws LowRankError `ERR_UNSUPPORTED` for other kinds of adapters.
 */
export async function readGgufAdapter(path: string): Promise<LoraAdapter> {
  const file = await GgufFile.open(path);
  try {
    const { metadata, tensors: described } = file.header;
    const architecture = metadata.text(ARCHITECTURE);
    if (metadata.text('general.type') !== 'adapter' || architecture === undefined) {
      throw fault(path, 'NoAdapter', 'is a GGUF file, but not an adapter');
    }
    const kind = metadata.text('adapter.type');
    if (kind !== 'lora') {
      throw new LowRankError('ERR_UNSUPPORTED', `${path}: adapter.type ${describe(kind)}, only "lora" is read`);
    }
    const tensors = new Map<string, LoraTensor>();
    for (const tensor of described) {
      const { name, type, shape } = tensor;
      tensors.set(name, { dtype: type, shape, bytes: await file.read(tensor) });
    }
    const alpha = metadata.value(ALPHA) ?? 0;
    if (typeof alpha !== 'number' || !Number.isFinite(alpha)) {
      throw fault(path, 'InvalidAdapterConfig', `${ALPHA} is ${describe(alpha)}, expected a number`);
    }
    const { modules, others } = pairFactors(tensors, alpha, path);
    const ranks = new Map([...modules].map(([name, { rank }]) => [name, rank]));
    const counted = configWithRanks({ peft_type: 'LORA' }, ranks);
    const config: PeftConfig = {
      ...counted,
      lora_alpha: alpha === 0 ? counted.r : alpha,
      ...(metadata.entries.has(INVOCATION) && { alora_invocation_tokens: true }),
    };
    const texts = [...metadata.entries.keys()].flatMap((key) => {
      const value = metadata.text(key);
      return value === undefined || key === ARCHITECTURE || Object.hasOwn(KINDS, key) ? [] : [[key, value] as const];
    });
    return { config, modules, others, metadata: new Map(texts), architecture, source: { path, config } };
  } finally {
    await file.close();
  }
}

/**
 * Writes an adapter in GGUF. The format has one alpha for all modules; where a module's scaling is
 * not alpha / rank, its B is multiplied by what is missing.
 *
 * @throws CheckpointError as {@link writeGguf}.
 * @throws LowRankError `ERR_UNSUPPORTED` for what the file could not tell.
 */
export async function writeGgufAdapter(adapter: LoraAdapter & { architecture: string }, out: string): Promise<void> {
  const { architecture, config, metadata: texts, modules, others } = adapter;
  if ((config.alora_invocation_tokens ?? null) !== null) {
    throw new LowRankError('ERR_UNSUPPORTED', `${out}: adapters with invocation tokens (aLoRA) cannot be written`);
  }
  const alpha = alphaFor(adapter);
  const metadata = new Map<string, GgufValue>([
    [ARCHITECTURE, architecture],
    ...Object.entries(KINDS),
    ...(texts ?? []),
    [ALPHA, { f32: alpha }],
  ]);
  const tensors = new Map<string, NewGgufTensor>();
  const add = (name: string, { dtype, shape, bytes }: LoraTensor) => {
    tensors.set(name, { type: ggmlTypeOf(dtype, name), shape, bytes });
  };
  for (const [name, tensor] of others) add(name, tensor);
  for (const module of modules.values()) {
    const { a, b } = withScaling(module, alpha / module.rank);
    add(`${module.name}.weight.lora_a`, module.kind === 'embedding' ? turned(a, module.name) : a);
    add(`${module.name}.weight.lora_b`, b);
  }
  await writeGguf(out, metadata, tensors);
}

/** The configuration's alpha if it is usable: llama.cpp takes 0 for no alpha at all. */
function alphaFor({ config, modules }: LoraAdapter): number {
  const { lora_alpha: alpha } = config;
  if (typeof alpha === 'number' && Number.isFinite(alpha) && Math.fround(alpha) !== 0) return Math.fround(alpha);
  return [...modules.values()][0]?.rank ?? 1;
}

function withScaling(module: LoraModule, scaling: number): Pick<LoraModule, 'a' | 'b'> {
  const { a, b } = module;
  if (Math.abs(module.scaling - scaling) <= ROUNDING * Math.abs(scaling)) return { a, b };
  const { data, shape } = factorsOf(module).b;
  const scaled = { data: data.map((value) => (value * module.scaling) / scaling), shape };
  return { a, b: stored(scaled, writableType(b), `${module.name} lora_b`) };
}

/** The transpose of a stored matrix, in its type where the new rows allow it. */
function turned(tensor: LoraTensor, name: string): LoraTensor {
  const { dtype, shape, bytes } = tensor;
  return stored(transpose({ data: toFloat32(bytes, dtype), shape }), writableType(tensor), `${name} lora_a`);
}

function pairFactors(
  tensors: ReadonlyMap<string, LoraTensor>,
  alpha: number,
  path: string,
): { modules: Map<string, LoraModule>; others: Map<string, LoraTensor> } {
  const modules = new Map<string, LoraModule>();
  const others = new Map<string, LoraTensor>();
  for (const [tensor, value] of tensors) {
    const [, name, factor] = FACTOR.exec(tensor) ?? [];
    if (name === undefined) {
      others.set(tensor, value);
      continue;
    }
    const other = `${name}.weight.lora_${factor === 'a' ? 'b' : 'a'}`;
    const pair = tensors.get(other);
    if (pair === undefined)
      throw fault(path, 'MissingFactorPair', `has ${describe(tensor)}, but not ${describe(other)}`);
    if (![value, pair].every(isMatrix)) {
      others.set(tensor, value);
      continue;
    }
    if (factor === 'b') continue;
    const kind = name === EMBEDDING ? 'embedding' : 'linear';
    const a = kind === 'embedding' ? turned(value, name) : value;
    const rank = a.shape[0]!;
    if (rank !== pair.shape[1]) {
      const shapes = `lora_a of shape ${describe(value.shape)} does not fit lora_b of shape ${describe(pair.shape)}`;
      throw fault(path, 'RankMismatch', `${name}: ${shapes}`);
    }
    const own = alpha === 0 ? rank : alpha;
    modules.set(name, { name, kind, a, b: pair, rank, alpha: own, scaling: own / rank });
  }
  return { modules, others };
}

/** Factors of experts have another dimension. */
function isMatrix({ dtype, shape }: LoraTensor): boolean {
  return shape.length === 2 && !shape.includes(0) && isReadableType(dtype);
}

function ggmlTypeOf(dtype: LoraTensor['dtype'], name: string): GgmlType {
  if (isGgmlType(dtype)) return dtype;
  throw new LowRankError('ERR_UNSUPPORTED', `${name}: a tensor of type ${dtype} cannot be stored in GGUF`);
}

function fault(path: string, kind: string, message: string): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, path, message);
}
