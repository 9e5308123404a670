import type { Checkpoint, TensorChange } from '../checkpoint/checkpoint.js';
import { mainOfCopy } from '../checkpoint/copy/layouts.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { fromFloat32 } from '../tensor/convert.js';
import type { FloatDType } from '../tensor/dtype.js';
import { filesBeside } from './files-beside.js';
import type { Formed, Forms } from './forms.js';
import type { Matrix } from './matrices.js';
import type { Storage } from './ranks.js';
import { changeOf, type Stored } from './stored.js';

/** A matrix and what becomes of it. */
export interface Decided {
  readonly matrix: Matrix;
  readonly stored: Stored;
}

export interface WriteOptions<T> {
  readonly storage: Storage;
  /** Of MatMulNBits, 0 to 4. */
  readonly accuracyLevel: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly started: (matrix: Matrix) => void;
  /** @param formed undefined for a matrix that stays dense */
  readonly finished: (matrix: Matrix, formed: Formed | undefined) => void;
  /** Looks at the written model before it is published, by the path that opens it. */
  readonly judge: (main: string) => Promise<T>;
  readonly onCommit: () => void;
}

/** The tensors of a compressed model that take the places of others. */
export function changesFor(decided: readonly Decided[], accuracyLevel: number | undefined): Map<string, TensorChange> {
  return new Map(
    decided.flatMap(({ matrix, stored }) => {
      const change = changeOf(matrix, stored, accuracyLevel);
      return change === undefined ? [] : [[matrix.info.name, change] as const];
    }),
  );
}

/**
 * Writes a copy with what becomes of the matrices in place of them, and publishes it once `judge`
 * has seen it.
 *
 * @throws as `withCopy`, and what `judge` throws: then nothing appears.
 */
export async function writeCompressed<T>(
  checkpoint: Checkpoint,
  out: string,
  decided: readonly Decided[],
  forms: Forms,
  options: WriteOptions<T>,
): Promise<{ readonly result: T; readonly output: OutputSummary }> {
  const { storage, accuracyLevel, signal, started, finished, judge, onCommit } = options;
  const changes = changesFor(decided, accuracyLevel);
  for (const { matrix, stored } of decided) {
    const bias = forms.biasOf(matrix, stored);
    if (bias !== undefined) changes.set(bias.name, { as: bias.dtype });
  }
  const files = await filesBeside(checkpoint, decided, storage);
  return withCopy(checkpoint, out, { ...(signal && { signal }), changes, files, onCommit }, async (copy) => {
    for (const { matrix, stored } of decided) {
      signal?.throwIfAborted();
      started(matrix);
      const formed = stored.kind === 'dense' ? undefined : await forms.formed(matrix, stored);
      for (const [tensor, bytes] of formed?.tensors ?? []) await copy.write(tensor, bytes);
      if (formed?.bias !== undefined) {
        const { info, numbers } = formed.bias;
        await copy.write(info.name, fromFloat32(numbers, info.dtype as FloatDType));
      }
      finished(matrix, formed);
    }
    const path = await copy.written();
    return judge(checkpoint.path === checkpoint.main ? path : mainOfCopy(checkpoint, path));
  });
}
