import { GgufFile } from '../checkpoint/gguf/file.js';
import { type NewTensor, SafetensorsFile, writeSafetensors } from '../checkpoint/safetensors/file.js';
import type { TensorSpan } from '../checkpoint/safetensors/header.js';
import { CheckpointError, describe } from '../errors.js';
import { openFile, readAt } from '../files/files.js';
import { MOMENTS_KINDS, type Moments, type MomentsKind } from '../lowrank/moments.js';
import { toFloat32 } from '../tensor/convert.js';
import { elements } from '../tensor/tensor.js';

/** The moments of a model's layers, in a file. */
export interface MomentsFile {
  /** The weights whose moments it has. */
  readonly weights: ReadonlySet<string>;
  /**
   * The moments of what a weight multiplies; undefined for a weight that the file does not have.
   */
  read(weight: string): Promise<Moments | undefined>;
  /** Whether the moments of a weight have a mean. */
  hasMean(weight: string): boolean;
  /** What the moments of a weight are; undefined for a weight that the file does not have. */
  kind(weight: string): MomentsKind | undefined;
  /** The bytes of the second moments of a weight in memory. */
  bytes(weight: string): number;
  /** How many vectors were seen, if the file tells. */
  count(weight: string): Promise<number | undefined>;
  close(): Promise<void>;
}

/**
 * Metadata that make a safetensors file one of moments, and of weights that share those of another.
 */
const MARK = ['lowrank', 'moments'] as const;
const SHARED = 'shared.';

/**
 * Opens a file of moments: of this package's layout in safetensors (docs/calibration.md), or an
 * imatrix file of llama.cpp in GGUF, which has the diagonal.
 *
 * @throws CheckpointError kind `NotMoments`, and those of the format.
 */
export async function openMoments(path: string): Promise<MomentsFile> {
  const { handle, size } = await openFile(path);
  try {
    const start = await readAt(handle, path, 0, Math.min(4, size));
    if (Buffer.from(start).toString('latin1') === 'GGUF') return await openImatrix(path);
  } finally {
    await handle.close();
  }
  const file = await SafetensorsFile.open(path);
  try {
    return new SafetensorsMoments(file);
  } catch (cause) {
    await file.close();
    throw cause;
  }
}

class SafetensorsMoments implements MomentsFile {
  readonly weights: ReadonlySet<string>;
  readonly #spans: ReadonlyMap<string, TensorSpan>;

  constructor(private readonly file: SafetensorsFile) {
    const { tensors, metadata } = file.header;
    this.#spans = new Map(tensors.map((span) => [span.name, span]));
    const own = tensors.flatMap(({ name }) => MOMENTS_KINDS.flatMap((kind) => beforeEnding(name, `.${kind}`)));
    const shared = [...(metadata?.keys() ?? [])].flatMap((key) =>
      key.startsWith(SHARED) ? [key.slice(SHARED.length)] : [],
    );
    if (metadata?.get(MARK[0]) !== MARK[1]) {
      throw fault(file.file, `has no metadata ${describe(MARK[0])}: ${describe(MARK[1])}`);
    }
    this.weights = new Set([...own, ...shared]);
  }

  async read(weight: string): Promise<Moments | undefined> {
    if (!this.weights.has(weight)) return undefined;
    const name = this.#owner(weight);
    const found = this.#second(weight);
    if (found === undefined) throw fault(this.file.file, `${describe(weight)} shares moments that are missing`);
    const { kind, span } = found;
    const second = await this.#numbers(span);
    const side = span.shape[0] ?? 0;
    const expected = kind === 'diagonal' ? [side] : [side, side];
    if (span.shape.join() !== expected.join()) {
      throw fault(
        this.file.file,
        `${describe(span.name)} has the shape ${describe(span.shape)}, expected ${describe(expected)}`,
      );
    }
    const mean = await this.#optional(`${name}.mean`, side);
    const count = await this.count(weight);
    return { kind, second, ...(mean && { mean }), ...(count !== undefined && { count }) };
  }

  hasMean(weight: string): boolean {
    return this.#spans.has(`${this.#owner(weight)}.mean`);
  }

  kind(weight: string): MomentsKind | undefined {
    return this.#second(weight)?.kind;
  }

  bytes(weight: string): number {
    return 8 * elements(this.#second(weight)?.span.shape ?? [0]);
  }

  async count(weight: string): Promise<number | undefined> {
    return (await this.#optional(`${this.#owner(weight)}.count`, 1))?.[0];
  }

  close(): Promise<void> {
    return this.file.close();
  }

  /** The weight whose moments a weight shares, or itself. */
  #owner(weight: string): string {
    return this.file.header.metadata?.get(SHARED + weight) ?? weight;
  }

  #second(weight: string): { readonly kind: MomentsKind; readonly span: TensorSpan } | undefined {
    const name = this.#owner(weight);
    const kind = MOMENTS_KINDS.find((each) => this.#spans.has(`${name}.${each}`));
    return kind && { kind, span: this.#spans.get(`${name}.${kind}`)! };
  }

  async #optional(name: string, length: number): Promise<Float64Array | undefined> {
    const span = this.#spans.get(name);
    if (span === undefined) return undefined;
    if (elements(span.shape) !== length) {
      throw fault(this.file.file, `${describe(name)} has ${elements(span.shape)} numbers, expected ${length}`);
    }
    return this.#numbers(span);
  }

  async #numbers(span: TensorSpan): Promise<Float64Array> {
    const bytes = await this.file.read(span);
    if (span.dtype === 'F64') return new Float64Array(bytes.slice().buffer);
    if (span.dtype === 'I64') return Float64Array.from(new BigInt64Array(bytes.slice().buffer), Number);
    return Float64Array.from(toFloat32(bytes, span.dtype));
  }
}

/**
 * What llama.cpp's `llama-imatrix` writes: for each weight the sums of squares of its inputs, and
 * how many there were.
 */
async function openImatrix(path: string): Promise<MomentsFile> {
  const file = await GgufFile.open(path);
  const tensors = new Map(file.header.tensors.map((tensor) => [tensor.name, tensor]));
  // Experts have a row each, and counts of their own: they share no moments.
  const weights = new Set(
    [...tensors.values()].flatMap(({ name, shape }) =>
      beforeEnding(name, '.in_sum2').filter(
        (weight) => tensors.has(`${weight}.counts`) && elements(shape) === shape.at(-1),
      ),
    ),
  );
  if (weights.size === 0) {
    await file.close();
    throw fault(path, 'is a GGUF file without the sums of an imatrix');
  }
  const numbers = async (name: string) => {
    const tensor = tensors.get(name)!;
    return toFloat32(await file.read(tensor), tensor.type);
  };
  const count = async (weight: string): Promise<number | undefined> => {
    if (!weights.has(weight)) return undefined;
    const [seen] = await numbers(`${weight}.counts`);
    return seen! > 0 ? seen : undefined;
  };
  const read = async (weight: string): Promise<Moments | undefined> => {
    const seen = await count(weight);
    if (seen === undefined) return undefined;
    const sums = await numbers(`${weight}.in_sum2`);
    return { kind: 'diagonal', second: Float64Array.from(sums, (sum) => sum / seen), count: seen };
  };
  const kind = (weight: string): MomentsKind | undefined => (weights.has(weight) ? 'diagonal' : undefined);
  const bytes = (weight: string) => 8 * elements(tensors.get(`${weight}.in_sum2`)?.shape ?? [0]);
  return { weights, kind, read, hasMean: () => false, bytes, count, close: () => file.close() };
}

/**
 * Writes moments in the layout that {@link openMoments} reads. Numbers are float64.
 *
 * @param moments by weight
 * @param shared weights that multiply the same vectors as another, whose moments stand in `moments`
 */
export function writeMoments(
  path: string,
  moments: ReadonlyMap<string, Moments>,
  shared: ReadonlyMap<string, string> = new Map(),
  options: { replace?: boolean } = {},
): Promise<void> {
  const tensors = new Map<string, NewTensor>();
  const add = (name: string, shape: readonly number[], numbers: Float64Array) => {
    const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
    tensors.set(name, { dtype: 'F64', shape, bytes });
  };
  for (const [weight, { kind, second, mean, count }] of moments) {
    const side = kind === 'diagonal' ? second.length : Math.sqrt(second.length);
    add(`${weight}.${kind}`, kind === 'diagonal' ? [side] : [side, side], second);
    if (mean !== undefined) add(`${weight}.mean`, [mean.length], mean);
    if (count !== undefined) add(`${weight}.count`, [1], Float64Array.of(count));
  }
  const metadata = new Map([MARK, ...[...shared].map(([weight, other]) => [SHARED + weight, other] as const)]);
  return writeSafetensors(path, tensors, metadata, options);
}

function beforeEnding(name: string, ending: string): string[] {
  return name.endsWith(ending) ? [name.slice(0, -ending.length)] : [];
}

function fault(file: string, message: string): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT_FORMAT', 'NotMoments', file, message, {
    hint: 'Make one with `lowrank calibrate`, llama-imatrix, or as docs/calibration.md says.',
  });
}
