import { setImmediate as turn } from 'node:timers/promises';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import { blockOf, type StoredType, type WritableType } from '../tensor/dtype.js';

/** How the written numbers differ from the original ones. */
export interface Difference {
  /** ||W - What||_F / ||W||_F; 0 when both are zero. */
  readonly relativeError: number;
  /** ||What||_F^2 / ||W||_F^2; 1 when both are zero. */
  readonly keptEnergy: number;
}

/**
 * Numbers to convert at a time: enough to make the overhead of a call vanish, too few to matter in
 * memory. A multiple of the block size of every quantised type.
 */
const CHUNK = 1 << 16;
/** Chunks between two pauses for other work of the process. */
const CHUNKS_PER_TURN = 8;

/** Reads a matrix's bytes as float32 into `target`, which has as many numbers. */
export async function readInto(target: Float32Array, bytes: Uint8Array, type: StoredType): Promise<void> {
  for (let at = 0; at < target.length; at += CHUNK) {
    target.set(toFloat32(part(bytes, at, Math.min(CHUNK, target.length - at), type), type), at);
    await pause(at);
  }
}

/** Where new numbers are written, and in which type. */
export interface Destination {
  /** The matrix's own bytes by default. */
  readonly bytes?: Uint8Array;
  /** The matrix's own type by default. */
  readonly type?: WritableType;
  /**
   * Writes only numbers that are 0, and keeps the bits of all others. Only for floats, in place.
   */
  readonly onlyZeros?: boolean;
}

/**
 * Writes new numbers over a matrix's bytes or elsewhere, rounded to a type, and measures the change
 * in float64, including the rounding. It works in parts, so that memory holds no further copy of
 * the matrix.
 *
 * @param bytes the matrix as it was read
 * @param data the new numbers
 */
export async function rewrite(
  bytes: Uint8Array,
  data: Float32Array,
  type: StoredType,
  { bytes: target = bytes, type: as = type as WritableType, onlyZeros = false }: Destination = {},
): Promise<Difference> {
  const sums = new Sums();
  for (let at = 0; at < data.length; at += CHUNK) {
    const own = data.subarray(at, at + CHUNK);
    const place = part(target, at, own.length, as);
    const before = numbers(part(bytes, at, own.length, type), type);
    if (onlyZeros) writeZeros(place, own, blockOf(as).bytes);
    else place.set(fromFloat32(own, as));
    sums.add(before, numbers(place, as));
    await pause(at);
  }
  return sums.change;
}

/** Measures the change between two matrices. */
export async function compare(before: Float32Array, after: Float32Array): Promise<Difference> {
  const sums = new Sums();
  for (let at = 0; at < before.length; at += CHUNK) {
    sums.add(before.subarray(at, at + CHUNK), after.subarray(at, at + CHUNK));
    await pause(at);
  }
  return sums.change;
}

class Sums {
  #energy = 0;
  #kept = 0;
  #lost = 0;

  add(before: Float32Array | Float64Array, after: Float32Array | Float64Array): void {
    // Partial sums keep the rounding error of a sum of many millions small.
    let [energy, kept, lost] = [0, 0, 0];
    for (let i = 0; i < before.length; i++) {
      const w = before[i]!;
      const v = after[i]!;
      energy += w * w;
      kept += v * v;
      lost += (w - v) * (w - v);
    }
    this.#energy += energy;
    this.#kept += kept;
    this.#lost += lost;
  }

  get change(): Difference {
    return {
      relativeError: this.#lost === 0 ? 0 : Math.sqrt(this.#lost / this.#energy),
      keptEnergy: this.#kept === this.#energy ? 1 : this.#kept / this.#energy,
    };
  }
}

function part(bytes: Uint8Array, at: number, count: number, type: StoredType): Uint8Array {
  const block = blockOf(type);
  return bytes.subarray((at / block.numbers) * block.bytes, ((at + count) / block.numbers) * block.bytes);
}

function writeZeros(place: Uint8Array, data: Float32Array, itemBytes: number): void {
  for (let i = 0; i < data.length; i++) {
    if (data[i] === 0) place.fill(0, i * itemBytes, (i + 1) * itemBytes);
  }
}

/** Reads float64 as it is: float32 would round away the differences to measure. */
function numbers(bytes: Uint8Array, type: StoredType): Float32Array | Float64Array {
  if (type !== 'F64') return toFloat32(bytes, type);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
}

/** Lets the process handle reads, writes and signals. */
async function pause(at: number): Promise<void> {
  if ((at / CHUNK) % CHUNKS_PER_TURN === CHUNKS_PER_TURN - 1) await turn();
}
