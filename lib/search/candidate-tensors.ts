import { type Beside, countBeside, sideBySide } from '../addon/side-by-side.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { type EditedMatrix, editTensor } from '../edit/apply-to-tensor.js';
import { LowRankError } from '../errors.js';
import { SerialQueue } from '../files/serial-queue.js';
import { byTensor, changes, type Edit, nameOf, numbersToHold } from '../interventions/edit.js';
import type { Decomposer } from '../interventions/kinds/kind.js';
import { kindOf } from '../interventions/kinds/kinds.js';
import { recompose } from '../interventions/recompose.js';
import type { Svd } from '../linalg/svd.js';
import type { Decompositions } from './decompositions.js';
import type { MatrixLine, TrialMatrix } from './log-lines.js';
import type { WorkingCopy } from './working-copy.js';

/**
 * Edits tensors of a working copy, as `editCheckpoint` edits those of a checkpoint.
 *
 * @param decomposer of an edit, told of the others beside it
 * @param threads beside each other, if the decompositions may be; one after the other without
 * @throws as `editTensor`; the caller rolls back what was written until then.
 */
export async function editWorkingCopy(
  edits: readonly Edit[],
  copy: WorkingCopy,
  checkpoint: Checkpoint,
  decomposer: (edit: Edit, beside: Beside) => Decomposer,
  threads = 1,
): Promise<Omit<TrialMatrix, 'smallestError'>[]> {
  const groups = byTensor(edits);
  const done = new Map<readonly Edit[], readonly EditedMatrix[]>();
  const writes = new SerialQueue();
  // A tensor, its result, its numbers as float32 and about as much again for the decomposition.
  const needs = groups.map((group) => 4 * 4 * numbersToHold(group));
  await sideBySide(groups, { count: countBeside(needs, threads), threads }, async (group, beside) => {
    const { tensor } = group[0]!;
    const { bytes, edited } = await editTensor(checkpoint.tensors.get(tensor)!, await copy.read(tensor), group, {
      work: new Float32Array(numbersToHold(group)),
      decomposer: (edit) => decomposer(edit, beside),
      started: () => undefined,
      finished: () => undefined,
    });
    if (changes(group)) await writes.run(() => copy.write(tensor, bytes));
    done.set(group, edited);
  });
  return groups.flatMap((group) =>
    done.get(group)!.map(({ tensor, slice, shape, rank, uses, relativeError, keptEnergy }) => {
      return { tensor, slice, shape, rank, ...(uses === undefined ? {} : { uses }), relativeError, keptEnergy };
    }),
  );
}

/** Takes decompositions from the search's store, and adds missing ones. */
export class RememberedDecompositions {
  readonly #smallestErrors = new Map<string, number>();

  constructor(
    private readonly decompositions: Decompositions,
    private readonly options: {
      readonly seed: number;
      readonly threads: number | undefined;
      /** Called for each decomposition that was not in memory. */
      readonly onMatrix: (line: MatrixLine) => Promise<void>;
    },
  ) {}

  /** Returns the decomposer of one edit. */
  decomposer(edit: Edit): Decomposer {
    const { seed, threads } = this.options;
    const svd = async (w: { readonly data: Float32Array; readonly shape: readonly number[] }) => {
      const found = await this.decompositions.of(nameOf(edit), w);
      const { tensor, slice, layer, type, shape } = edit;
      const { from, seconds } = found;
      if (from !== 'memory') {
        const singularValues = [...found.svd.s.data];
        await this.options.onMatrix({
          line: 'matrix',
          tensor,
          slice,
          layer: layer!,
          type: type!,
          shape,
          singularValues,
          from,
          seconds,
        });
      }
      return found.svd;
    };
    return {
      seed,
      threads,
      svd,
      truncate: async (w, choice) => {
        if (!('rank' in choice)) throw new LowRankError('ERR_UNSUPPORTED', 'a search tries shares, not energies');
        const { rank } = choice;
        const parts = await svd(w);
        this.#smallestErrors.set(nameOf(edit), tailError(parts, rank, Math.min(...w.shape.slice(-2))));
        const first = Uint32Array.from({ length: rank }, (_, i) => i);
        return { data: await recompose(parts, first, threads), certified: undefined };
      },
    };
  }

  /**
   * Returns the smallest error of any matrix of the edit's rank; undefined unless the first
   * components were kept.
   */
  smallestError({ tensor, slice, rank, identity, intervention }: Edit): number | undefined {
    if (identity) return rank === undefined ? undefined : 0;
    return kindOf(intervention.kind).isBest ? this.#smallestErrors.get(nameOf({ tensor, slice })) : undefined;
  }
}

/** Computes ||W - W_k||_F / ||W||_F from the singular values; for a batch over all its matrices. */
function tailError({ s }: Svd, k: number, full: number): number {
  let all = 0;
  let tail = 0;
  s.data.forEach((value, i) => {
    all += value * value;
    if (i % full >= k) tail += value * value;
  });
  return all === 0 ? 0 : Math.sqrt(tail / all);
}
