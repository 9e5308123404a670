import type { CallOptions } from '../addon/call.js';
import { LowRankError } from '../errors.js';
import { matmul } from '../linalg/matmul.js';
import { storedBytes } from '../tensor/block-slice.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import type { ReadableType, WritableType } from '../tensor/dtype.js';
import type { PlainTensor } from '../tensor/tensor.js';
import { type LoraModule, storedFactors } from './adapter.js';

/** Numbers of an update to compute at a time, so that a weight's memory is not doubled. */
const BLOCK_NUMBERS = 1 << 22;

/** One module's update, and how to add it to the weight. */
export interface ScaledUpdate {
  readonly module: LoraModule;
  readonly scale: number;
  /** Whether the weight is stored [in, out]. */
  readonly transposed: boolean;
}

/** How adding updates changed a weight. */
export interface WeightChange {
  /** ||update||_F / ||W||_F as written, after rounding; Infinity for a zero weight that changed. */
  readonly relativeChange: number;
}

/** A weight as it is stored, and the type for its new numbers. */
interface StoredWeight {
  readonly name: string;
  readonly dtype: ReadableType;
  readonly writtenAs: WritableType;
  /** [rows, columns]; each update must have it. */
  readonly shape: readonly number[];
}

/**
 * Adds updates to a weight: W + sum scale * scaling * B A, computed in float32 and rounded to
 * `writtenAs` at the end. The update exists only in blocks of rows.
 *
 * @param bytes - the weight as it is stored; overwritten if its type does not change
 * @throws LowRankError `ERR_NOT_FINITE`, naming the weight, if a number in it, or a result in its
 *   type, is not finite.
 */
export async function addUpdates(
  bytes: Uint8Array,
  { name, dtype, writtenAs, shape }: StoredWeight,
  updates: readonly ScaledUpdate[],
  options: CallOptions,
): Promise<WeightChange & { readonly bytes: Uint8Array }> {
  const [m, n] = shape as [number, number];
  const { left, right } = joined(updates, m, n);
  const rank = right.shape[0]!;
  const [rowBytes, newRowBytes] = [storedBytes(n, dtype), storedBytes(n, writtenAs)];
  const result = writtenAs === dtype ? bytes : new Uint8Array(m * newRowBytes);
  const blockRows = Math.max(1, Math.floor(BLOCK_NUMBERS / n));
  let energy = 0;
  let changed = 0;
  for (let row = 0; row < m; row += blockRows) {
    const rows = Math.min(blockRows, m - row);
    const part = left.data.slice(row * rank, (row + rows) * rank);
    const { data: update } = await matmul({ data: part, shape: [rows, rank] }, right, options);
    const before = toFloat32(bytes.subarray(row * rowBytes, (row + rows) * rowBytes), dtype);
    const requireFinite = (values: Float32Array) => {
      const index = values.findIndex((value) => !Number.isFinite(value));
      if (index < 0) return;
      throw notFinite(name, writtenAs, before[index]!, row + Math.floor(index / n), index % n);
    };
    for (let i = 0; i < update.length; i++) update[i] = before[i]! + update[i]!;
    requireFinite(update);
    const written = fromFloat32(update, writtenAs);
    const after = toFloat32(written, writtenAs);
    requireFinite(after);
    for (let i = 0; i < after.length; i++) {
      energy += before[i]! ** 2;
      changed += (after[i]! - before[i]!) ** 2;
    }
    result.set(written, row * newRowBytes);
  }
  return { bytes: result, relativeChange: changed === 0 ? 0 : Math.sqrt(changed / energy) };
}

/** Joins all updates into one product, so that one pass over the weight is enough. */
function joined(updates: readonly ScaledUpdate[], m: number, n: number): { left: PlainTensor; right: PlainTensor } {
  const factors = updates.map(({ module, transposed, scale }) => storedFactors(module, transposed, scale));
  const rank = factors.reduce((sum, { right }) => sum + right.shape[0]!, 0);
  const left = new Float32Array(m * rank);
  const right = new Float32Array(rank * n);
  let at = 0;
  for (const own of factors) {
    const r = own.right.shape[0]!;
    right.set(own.right.data, at * n);
    for (let i = 0; i < m; i++) left.set(own.left.data.subarray(i * r, (i + 1) * r), i * rank + at);
    at += r;
  }
  return { left: { data: left, shape: [m, rank] }, right: { data: right, shape: [rank, n] } };
}

function notFinite(name: string, dtype: WritableType, before: number, row: number, column: number): LowRankError {
  const place = `[${row}, ${column}]`;
  return Number.isFinite(before)
    ? new LowRankError('ERR_NOT_FINITE', `${name}: the result at ${place} does not fit into ${dtype}`, {
        hint: 'Use a smaller scale, or convert the checkpoint to BF16 or F32 first.',
      })
    : new LowRankError('ERR_NOT_FINITE', `${name}: ${before} at ${place}`, {
        hint: 'The checkpoint is damaged or was trained to divergence.',
      });
}
