import { ArgumentError, describe, LowRankError } from '../errors.js';
import { matmulSync } from '../linalg/matmul.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import { blockOf, isWritableType, type StoredType, type WritableType } from '../tensor/dtype.js';
import type { PlainTensor, Tensor } from '../tensor/tensor.js';
import { configObstacles } from './peft-config.js';

/**
 * `linear` for a layer that multiplies by its weight, `embedding` for a table of vectors, whose
 * update is stored transposed.
 */
export type LoraKind = 'linear' | 'embedding';

/** A tensor of an adapter's file: little-endian, row-major. */
export interface LoraTensor {
  readonly dtype: StoredType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** The update of one module: `scaling * B A`, of shape [out, in]. */
export interface LoraModule {
  /**
   * The module's path in the base model, such as `model.layers.0.self_attn.q_proj`; in GGUF the
   * name of its weight without `.weight`, such as `blk.0.attn_q`.
   */
  readonly name: string;
  readonly kind: LoraKind;
  /** [rank, in], as in the file; for an embedding, `in` is the number of its vectors. */
  readonly a: LoraTensor;
  /** [out, rank], as in the file. */
  readonly b: LoraTensor;
  readonly rank: number;
  readonly alpha: number;
  /** alpha / rank, or alpha / sqrt(rank) if the configuration has `use_rslora`. */
  readonly scaling: number;
}

/** A LoRA adapter in memory. */
export interface LoraAdapter {
  /** The complete contents of `adapter_config.json`; of an adapter in GGUF what would be there. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By name, in the order of the file. */
  readonly modules: ReadonlyMap<string, LoraModule>;
  /**
   * Tensors that are not a pair of LoRA factors, by their names in the file. They are written back
   * unchanged.
   */
  readonly others: ReadonlyMap<string, LoraTensor>;
  /** The metadata of the safetensors file; of a GGUF file its texts. */
  readonly metadata: ReadonlyMap<string, string> | undefined;
  /**
   * `general.architecture` of an adapter in GGUF, whose modules have GGUF's names; undefined for
   * one in PEFT's form.
   */
  readonly architecture?: string | undefined;
  /**
   * Where it was read, a folder or a GGUF file, with the configuration found there; undefined for
   * an adapter made in memory.
   */
  readonly source: { readonly path: string; readonly config: Readonly<Record<string, unknown>> } | undefined;
}

/**
 * Two factors in float32, oriented as PEFT stores them: `b` [out, rank] and `a` [rank, in], so that
 * the update is B A. The factors of `Lora` have the opposite orientation, see `LoraFactors`.
 */
export interface PeftFactors {
  readonly a: PlainTensor;
  readonly b: PlainTensor;
}

/**
 * Returns the factors of a module, without its scaling.
 *
 * @throws LowRankError `ERR_NOT_FINITE` naming the factor with a NaN or an infinity.
 */
export function factorsOf({ name, a, b }: LoraModule): PeftFactors {
  return { a: numbers(a, `${name} lora_A`), b: numbers(b, `${name} lora_B`) };
}

/**
 * Returns the update of a module as two factors whose product has the orientation of the stored
 * weight: `left` [rows, rank] and `right` [rank, columns], including the scaling. No other code
 * deals with orientation.
 *
 * @param transposed - whether the weight is stored [in, out], as GPT-2's Conv1D and embeddings are
 */
export function storedFactors(
  module: LoraModule,
  transposed: boolean,
  scale = 1,
): { left: PlainTensor; right: PlainTensor } {
  const { a, b } = factorsOf(module);
  const scaled = { data: b.data.map((value) => value * module.scaling * scale), shape: b.shape };
  return transposed ? { left: transpose(a), right: transpose(scaled) } : { left: scaled, right: a };
}

/** Whether PEFT treats a module's weight as stored [in, out], judged by the configuration alone. */
function isStoredTransposed({ config }: Pick<LoraAdapter, 'config'>, { kind }: Pick<LoraModule, 'kind'>): boolean {
  return kind === 'embedding' || config.fan_in_fan_out === true;
}

/**
 * Computes the update of one module, `scaling * B A`, in the orientation of the weight that it is
 * added to: [out, in], or [in, out] for embeddings and if the configuration has `fan_in_fan_out`.
 * Equals PEFT's `get_delta_weight`.
 *
 * @throws {@link LowRankError} `ERR_NOT_FOUND` for a module that the adapter lacks;
 *   `ERR_UNSUPPORTED`, naming the reason, if the update is more than that product (DoRA and
 *   others); `ERR_NOT_FINITE`.
 */
export function loraDelta(adapter: LoraAdapter, name: string): Tensor {
  requirePlain(adapter, 'compute an update of');
  const module = adapter.modules.get(name);
  if (module === undefined) {
    throw new LowRankError('ERR_NOT_FOUND', `the adapter has no module ${describe(name)}`, {
      hint: 'List its modules with: lowrank lora inspect.',
    });
  }
  const { left, right } = storedFactors(module, isStoredTransposed(adapter, module));
  return matmulSync(left, right);
}

/**
 * Lists, in a few words each, what makes an adapter more than updates `scaling * B A`; empty for a
 * plain adapter.
 */
export function adapterObstacles(adapter: Pick<LoraAdapter, 'config' | 'others'>): string[] {
  const { config, others } = (adapter ?? {}) as Partial<LoraAdapter>;
  if (typeof config !== 'object' || config === null || !(others instanceof Map)) throw noAdapter(adapter);
  return [...configObstacles(config), ...[...others.keys()].map((name) => `the tensor ${describe(name)}`)];
}

/**
 * Checks that the value is an adapter.
 *
 * @throws ArgumentError if it is not.
 */
export function requireAdapter(adapter: LoraAdapter): void {
  adapterObstacles(adapter);
  if (!(adapter.modules instanceof Map)) throw noAdapter(adapter);
}

function noAdapter(value: unknown): ArgumentError {
  return new ArgumentError('adapter', 'an adapter from readAdapter or another function of this package', value);
}

/**
 * Checks that an adapter is plain.
 *
 * @throws LowRankError `ERR_UNSUPPORTED`, naming the reasons, if it is not.
 */
export function requirePlain(adapter: LoraAdapter, action: string): void {
  requireAdapter(adapter);
  const found = adapterObstacles(adapter);
  if (found.length === 0) return;
  const named = `${found.slice(0, 3).join(', ')}${found.length > 3 ? ` and ${found.length - 3} more` : ''}`;
  throw new LowRankError(
    'ERR_UNSUPPORTED',
    `${adapter.source?.path ?? 'the adapter'}: cannot ${action} an adapter with ${named}`,
    {
      hint: 'Only updates of the form alpha times B A are supported; convert it with PEFT first. It can be inspected and copied.',
    },
  );
}

/**
 * Converts numbers to a tensor of a file. Rows that do not fill the blocks of a quantised type
 * become F16, as llama.cpp's converter stores them.
 *
 * @throws LowRankError `ERR_NOT_FINITE` if one does not fit into the dtype.
 */
export function stored({ data, shape }: PlainTensor, type: WritableType, name: string): LoraTensor {
  const dtype = shape.at(-1)! % blockOf(type).numbers === 0 ? type : 'F16';
  const bytes = fromFloat32(data, dtype);
  // Only F16 has a smaller range than float32.
  const written = dtype === 'F16' ? toFloat32(bytes, dtype) : data;
  requireFinite(written, shape, `${name} as ${dtype}`);
  return { dtype, shape, bytes };
}

/**
 * Checks that factors of an adapter can be stored in a type.
 *
 * @param architecture undefined for an adapter in PEFT's form
 * @throws LowRankError `ERR_UNSUPPORTED` for Q8_0 outside GGUF.
 */
export function requireTypeFor(architecture: string | undefined, type: WritableType | undefined): void {
  if (type !== 'Q8_0' || architecture !== undefined) return;
  throw new LowRankError('ERR_UNSUPPORTED', "Q8_0 exists only in GGUF, and the adapter is in PEFT's form", {
    hint: 'Choose F32, F16 or BF16, or convert it: lowrank lora convert.',
  });
}

/** Returns the type in which new numbers of a tensor are stored: its own, if that is possible. */
export function writableType({ dtype }: LoraTensor): WritableType {
  return isWritableType(dtype) ? dtype : 'F32';
}

/** Returns the transpose of a matrix. */
export function transpose({ data, shape }: PlainTensor): PlainTensor {
  const [m, n] = shape as [number, number];
  const result = new Float32Array(data.length);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) result[j * m + i] = data[i * n + j]!;
  }
  return { data: result, shape: [n, m] };
}

function numbers({ dtype, shape, bytes }: LoraTensor, name: string): PlainTensor {
  const data = toFloat32(bytes, dtype);
  requireFinite(data, shape, name);
  return { data, shape };
}

function requireFinite(data: Float32Array, [, columns = 1]: readonly number[], name: string): void {
  const index = data.findIndex((value) => !Number.isFinite(value));
  if (index < 0) return;
  const place = `[${Math.floor(index / columns)}, ${index % columns}]`;
  throw new LowRankError('ERR_NOT_FINITE', `${name}: ${data[index]} at ${place}`, {
    hint: 'The adapter is damaged, was trained to divergence, or needs a dtype with a larger range.',
  });
}
