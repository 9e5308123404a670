import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { SafetensorsFile, writeSafetensors } from '../checkpoint/safetensors/file.js';
import { LowRankError } from '../errors.js';
import { digestOf } from '../files/journal.js';
import { type Svd, svd } from '../linalg/svd.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import { type PlainTensor, Tensor } from '../tensor/tensor.js';

/** Change this if the same numbers would be stored differently. */
const VERSION = 'svd 2 gesdd float32';
const ENDING = '.svd.safetensors';
/** The most bytes in memory; beyond it, decompositions are kept only on the disk. */
const MOST_IN_MEMORY = 512e6;

export interface DecompositionOptions {
  /** Bytes on the disk; 0 for none. */
  readonly limit: number;
  /** The folder; created when the first entry is written. */
  readonly folder: string;
  /** The threads of the linear algebra. */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called if the disk cannot be used, which only costs time. */
  readonly onProblem?: ((message: string) => void) | undefined;
}

export interface FoundDecomposition {
  readonly svd: Svd;
  readonly from: 'computed' | 'disk' | 'memory';
  readonly seconds: number;
}

/**
 * Singular value decompositions of the matrices of a search, each computed once. One serves every
 * share and every kind of intervention that chooses among the components.
 *
 * The last used ones stay in memory, and more of them in a folder that several searches may share.
 * An entry's name is the SHA-256 of the matrix's numbers and shape, so it serves any model with
 * this matrix. It contains a digest of its own content; an entry that does not match is deleted and
 * computed again. When the folder exceeds its limit, the least recently used entries are removed.
 */
export class Decompositions {
  readonly #options: DecompositionOptions;
  /** In the order of their last use. */
  readonly #memory = new Map<string, Svd>();
  #diskWorks: boolean;

  constructor(options: DecompositionOptions) {
    this.#options = options;
    this.#diskWorks = options.limit > 0;
  }

  /**
   * Returns the decomposition of a matrix, or of each matrix of a batch.
   *
   * @param name distinguishes the matrix from all others of the search
   * @param w its numbers; not read if the decomposition is in memory
   * @throws as {@link svd}
   */
  async of(name: string, w: PlainTensor): Promise<FoundDecomposition> {
    const begin = performance.now();
    const seconds = () => (performance.now() - begin) / 1000;
    const held = this.#memory.get(name);
    if (held !== undefined) {
      this.#remember(name, held);
      return { svd: held, from: 'memory', seconds: 0 };
    }
    const bytes = new Uint8Array(w.data.buffer, w.data.byteOffset, w.data.byteLength);
    const key = createHash('sha256')
      .update(`${VERSION}\0${w.shape.join('x')}\0${await digestOf(bytes)}`)
      .digest('hex');
    const file = join(this.#options.folder, key + ENDING);
    const entry = this.#diskWorks ? await readEntry(file, w.shape) : undefined;
    if (entry !== undefined) {
      this.#remember(name, entry);
      return { svd: entry, from: 'disk', seconds: seconds() };
    }
    const { threads, signal } = this.#options;
    const made = await svd(w, { threads, signal });
    this.#remember(name, made);
    const found: FoundDecomposition = { svd: made, from: 'computed', seconds: seconds() };
    if (this.#diskWorks) await this.#store(file, made);
    return found;
  }

  #remember(name: string, value: Svd): void {
    this.#memory.delete(name);
    this.#memory.set(name, value);
    let bytes = [...this.#memory.values()].reduce((sum, one) => sum + bytesOf(one), 0);
    for (const [oldest, one] of this.#memory) {
      if (bytes <= MOST_IN_MEMORY || oldest === name) break;
      this.#memory.delete(oldest);
      bytes -= bytesOf(one);
    }
  }

  async #store(file: string, value: Svd): Promise<void> {
    const { folder, limit, onProblem } = this.#options;
    if (bytesOf(value) > limit) return;
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeEntry(file, value);
      await evict(folder, limit);
    } catch (error) {
      // The search continues without the disk; it only computes more.
      this.#diskWorks = false;
      onProblem?.(`decompositions are not kept on the disk: ${(error as Error).message}`);
    }
  }
}

function bytesOf({ u, s, vt }: Svd): number {
  return 4 * (u.data.length + s.data.length + vt.data.length);
}

async function writeEntry(file: string, { u, s, vt, drivers }: Svd): Promise<void> {
  const parts = Object.entries({ s, u, vt }).map(([name, { data, shape }]) => {
    return [name, { dtype: 'F32' as const, shape, bytes: fromFloat32(data, 'F32') }] as const;
  });
  const digest = await digestOfAll(parts.map(([, { bytes }]) => bytes));
  const metadata = new Map([
    ['version', VERSION],
    ['sha256', digest],
    ['drivers', drivers.join(' ')],
  ]);
  await writeSafetensors(file, new Map(parts), metadata, { replace: true });
}

/** Reads an entry; returns undefined if there is none, or deletes it if it is invalid. */
async function readEntry(file: string, shape: readonly number[]): Promise<Svd | undefined> {
  try {
    await stat(file);
  } catch {
    return undefined;
  }
  const found = await readSound(file, shape).catch((error: unknown) => {
    if (error instanceof LowRankError) return undefined;
    throw error;
  });
  // The time of the last use decides what is removed from a full folder; another process may just
  // have removed this entry.
  if (found === undefined) await rm(file, { force: true });
  else await utimes(file, new Date(), new Date()).catch(() => undefined);
  return found;
}

async function readSound(file: string, shape: readonly number[]): Promise<Svd | undefined> {
  const entry = await SafetensorsFile.open(file);
  try {
    const [m, n] = shape.slice(-2) as [number, number];
    const batch = shape.slice(0, -2);
    const r = Math.min(m, n);
    const shapes = { s: [...batch, r], u: [...batch, m, r], vt: [...batch, r, n] };
    const bytes: Uint8Array[] = [];
    const tensors: Record<string, Tensor> = {};
    for (const [name, expected] of Object.entries(shapes)) {
      const span = entry.header.tensors.find((tensor) => tensor.name === name);
      if (span?.dtype !== 'F32' || span.shape.join() !== expected.join()) return undefined;
      bytes.push(await entry.read(span));
      tensors[name] = new Tensor(toFloat32(bytes.at(-1)!, 'F32'), expected);
    }
    const { metadata } = entry.header;
    if (metadata?.get('version') !== VERSION || metadata.get('sha256') !== (await digestOfAll(bytes))) return undefined;
    const drivers = metadata.get('drivers')?.split(' ') as Svd['drivers'] | undefined;
    return drivers && { ...(tensors as unknown as Pick<Svd, 'u' | 's' | 'vt'>), drivers };
  } finally {
    await entry.close();
  }
}

async function digestOfAll(parts: readonly Uint8Array[]): Promise<string> {
  const digests = [];
  for (const part of parts) digests.push(await digestOf(part));
  return createHash('sha256').update(digests.join()).digest('hex');
}

/** Removes the least recently used entries until the rest fits. */
async function evict(folder: string, limit: number): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(ENDING) && !name.startsWith('.'));
  const entries = [];
  for (const name of names) {
    const path = join(folder, name);
    const status = await stat(path).catch(() => undefined);
    if (status !== undefined) entries.push({ path, size: status.size, used: status.mtimeMs });
  }
  let total = entries.reduce((sum, { size }) => sum + size, 0);
  for (const { path, size } of entries.sort((a, b) => a.used - b.used)) {
    if (total <= limit) return;
    await rm(path, { force: true });
    total -= size;
  }
}
