import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type NewTensor, SafetensorsFile, writeSafetensors } from '../checkpoint/safetensors/file.js';
import { CheckpointError } from '../errors.js';
import { parseJson, toJson } from '../files/document.js';
import { exists, ioError } from '../files/files.js';
import { aNumber } from '../files/schema.js';
import type { Certificate } from '../lowrank/certificate.js';
import { certificateCheck } from '../lowrank/certificate-check.js';
import { LowRank } from '../lowrank/factors.js';
import { toFloat32 } from '../tensor/convert.js';
import type { PlainTensor } from '../tensor/tensor.js';

const CERTIFICATE = certificateCheck(aNumber);
const TENSORS = ['b', 'a', 's'] as const;
/** Metadata: the certificate, and a digest of it and of all numbers. */
const [CERTIFIED, DIGEST] = ['certificate', 'sha256'] as const;

/**
 * Decompositions in a folder, one file each, under keys that say what was decomposed. Files appear
 * complete, so any number of processes may add to the folder at once, even the same decomposition
 * twice.
 */
export class Decompositions {
  /** Files whose digest was verified: nothing else writes to them. */
  readonly #verified = new Set<string>();

  constructor(readonly folder: string) {}

  /** Whether a file of this name in such a folder is ours. */
  static owns(name: string): boolean {
    return /^[0-9a-f]{64}\.safetensors$/.test(name);
  }

  has(key: string): Promise<boolean> {
    return exists(this.#file(key));
  }

  /**
   * Reads a decomposition; returns undefined if there is none, or a damaged one, which {@link add}
   * may replace.
   *
   * @throws CheckpointError `ERR_CHECKPOINT_IO`.
   */
  async find(key: string): Promise<LowRank | undefined> {
    const path = this.#file(key);
    if (!(await this.has(key))) return undefined;
    let file: SafetensorsFile | undefined;
    try {
      file = await SafetensorsFile.open(path);
      return await this.#read(file);
    } catch (cause) {
      if (cause instanceof CheckpointError && cause.code === 'ERR_CHECKPOINT_FORMAT') return undefined;
      throw cause;
    } finally {
      await file?.close();
    }
  }

  async add(key: string, { b, a, singularValues, certificate }: LowRank): Promise<void> {
    try {
      await mkdir(this.folder, { recursive: true });
    } catch (cause) {
      throw ioError(this.folder, 'cannot be created', cause);
    }
    const text = toJson(certificate);
    const tensors = new Map([b, a, singularValues].map((tensor, i) => [TENSORS[i]!, stored(tensor)] as const));
    const metadata = new Map([
      [CERTIFIED, text],
      [
        DIGEST,
        digest(
          text,
          [...tensors.values()].map(({ bytes }) => bytes),
        ),
      ],
    ]);
    await writeSafetensors(this.#file(key), tensors, metadata, { replace: true });
  }

  async #read(file: SafetensorsFile): Promise<LowRank | undefined> {
    const { tensors, metadata } = file.header;
    const text = metadata?.get(CERTIFIED);
    const spans = TENSORS.map((name) => tensors.find((tensor) => tensor.name === name && tensor.dtype === 'F32'));
    if (text === undefined || spans.some((span) => span === undefined)) return undefined;
    const bytes = await Promise.all(spans.map((span) => file.read(span!)));
    if (!this.#verified.has(file.file)) {
      if (metadata?.get(DIGEST) !== digest(text, bytes)) return undefined;
      this.#verified.add(file.file);
    }
    const certificate = parseJson(Buffer.from(text), (message) => {
      throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidResult', file.file, message);
    });
    if (CERTIFICATE(certificate, '') !== undefined) return undefined;
    const [b, a, s] = spans.map((span, i) => ({ data: toFloat32(bytes[i]!, 'F32'), shape: span!.shape }));
    return new LowRank(b!, a!, s!, [certificate as Certificate]);
  }

  #file(key: string): string {
    return join(this.folder, `${key}.safetensors`);
  }
}

function stored({ data, shape }: PlainTensor): NewTensor {
  return { dtype: 'F32', shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

function digest(text: string, parts: readonly Uint8Array[]): string {
  const hash = createHash('sha256').update(text);
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}
