/** The inputs of ONNX exports of transformers, by the names that Hugging Face gives them. */

import { toFloat32 } from '../../tensor/convert.js';

/** The parts of onnxruntime-node that are used here. */
export interface Runtime {
  readonly InferenceSession: { create(path: string, options: object): Promise<Inference> };
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => RuntimeTensor;
}
export interface Inference {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata?: readonly InputMetadata[];
  run(feeds: Feeds, fetches: readonly string[]): Promise<Feeds>;
  release(): Promise<void>;
}
interface InputMetadata {
  readonly name: string;
  readonly type?: string;
  readonly shape?: readonly (number | string)[];
}
export interface RuntimeTensor {
  readonly data: ArrayLike<number>;
  readonly dims: readonly number[];
  readonly type: string;
}
/** Tensors by the names of inputs or outputs. */
export type Feeds = Record<string, RuntimeTensor>;

/** What comes before the sequences, and which logits are wanted. */
export interface FeedOptions {
  /** Keys and values by the names of their inputs, and the number of tokens in them. */
  readonly past?: { readonly feeds: Feeds; readonly length: number };
  /**
   * How many of the last positions return logits, where the model lets one choose; default: all.
   */
  readonly logits?: number;
}

const PAST = 'past_key_values.';

/** Whether the model takes keys and values of earlier tokens. */
export function takesPast(session: Inference): boolean {
  return session.inputNames.some((name) => name.startsWith(PAST));
}

/** Returns the output that holds the keys or values for an input of the next run. */
export function presentOf(input: string): string {
  return input.replace(PAST, 'present.');
}

/**
 * Returns the inputs for sequences of one length.
 *
 * @throws Error for an input that is not known.
 */
export function feedsOf(
  runtime: Runtime,
  session: Inference,
  sequences: readonly (readonly number[])[],
  { past, logits = 0 }: FeedOptions = {},
): Feeds {
  const [batch, length] = [sequences.length, sequences[0]!.length];
  const before = past?.length ?? 0;
  const integers = (columns: number, of: (position: number, row: number) => number) =>
    new runtime.Tensor(
      'int64',
      BigInt64Array.from({ length: batch * columns }, (_, i) => BigInt(of(i % columns, Math.floor(i / columns)))),
      [batch, columns],
    );
  const input = (name: string): RuntimeTensor => {
    if (name === 'input_ids') return integers(length, (position, row) => sequences[row]![position]!);
    if (name === 'attention_mask') return integers(before + length, () => 1);
    if (name === 'position_ids') return integers(length, (position) => before + position);
    if (name === 'token_type_ids') return integers(length, () => 0);
    if (name === 'use_cache_branch') return new runtime.Tensor('bool', Uint8Array.of(Number(before > 0)), [1]);
    // 0 requests all positions.
    if (name === 'num_logits_to_keep') return new runtime.Tensor('int64', BigInt64Array.of(BigInt(logits)), []);
    if (name.startsWith(PAST)) return past?.feeds[name] ?? noPast(runtime, session, name, batch);
    throw new Error(`the model needs the unknown input ${JSON.stringify(name)}`);
  };
  return Object.fromEntries(session.inputNames.map((name) => [name, input(name)]));
}

/** Returns keys and values of no tokens: `[batch, heads, 0, size]`. */
function noPast(runtime: Runtime, session: Inference, name: string, batch: number): RuntimeTensor {
  const { shape, type } = session.inputMetadata?.find((metadata) => metadata.name === name) ?? {};
  if (shape?.length !== 4) throw new Error(`the input ${JSON.stringify(name)} does not have four dimensions`);
  const dims = shape.map((size, i) => (i === 0 ? batch : typeof size === 'number' ? size : 0));
  return new runtime.Tensor(type ?? 'float32', type === 'float16' ? new Uint16Array(0) : new Float32Array(0), dims);
}

/** Returns an output's numbers as float32. */
export function asFloats({ data, type }: RuntimeTensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (type !== 'float16' || !(data instanceof Uint16Array)) {
    if (type === 'float16') return Float32Array.from(data);
    throw new Error(`the output is ${type}, expected float32 or float16`);
  }
  return toFloat32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 'F16');
}
