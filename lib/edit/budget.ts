import { addon } from '../addon/load.js';
import { countBeside } from '../addon/side-by-side.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { byTensor, changes, type Edit, needsWhole, numbersToHold, writtenAs } from '../interventions/edit.js';
import { kindOf } from '../interventions/kinds/kinds.js';
import { METHODS, type Method } from '../lowrank/approximate.js';
import { memoryUsage } from '../memory.js';
import { storedBytes } from '../tensor/block-slice.js';
import { elements } from '../tensor/tensor.js';

/** The bytes that a job will need at its most expensive tensor. */
export interface PredictedMemory {
  /** That tensor; undefined if nothing changes. */
  readonly tensor: string | undefined;
  /**
   * The tensor, its neighbours that are in memory with it, and the float32 numbers of the largest
   * matrix.
   */
  readonly buffers: number;
  /** The decomposition and LAPACK's workspaces. */
  readonly native: number;
  /**
   * The sum of both, of what the process already holds, and of what V8 and OpenBLAS take during the
   * job.
   */
  readonly total: number;
}

/** How one edit is computed if memory is limited. */
export interface MethodChoice {
  readonly method: Method;
  /** Bytes of native memory that the decomposition may use. */
  readonly maxMemory: number;
}

/** How a job is computed, where it has a choice. */
export interface Settings {
  readonly threads: number;
  /** Whether the next tensor is read and the last one written while one is computed. */
  readonly overlap: boolean;
  /** The method if memory is not limited. */
  readonly method: Method;
  /** The choices if memory is limited: one for each edit, in their order. */
  readonly choices: readonly MethodChoice[] | undefined;
}

/**
 * V8 collects arrays when those outside of its heap have grown by this much (its
 * kExternalAllocationSoftLimit).
 */
const LATE_BYTES = 64 * 2 ** 20;
/** The growth of compiled code and V8's heap in a job; measured. */
const RUNTIME_BYTES = 12 * 2 ** 20;
/**
 * The part of its buffer that OpenBLAS fills for each thread; measured with decompositions of 1200
 * x 1200.
 */
const THREAD_BYTES = 10 * 2 ** 20;
/**
 * The most that the C library keeps of memory freed by a decomposition on another thread (twice its
 * M_MMAP_THRESHOLD_MAX).
 */
const KEPT_BYTES = 64 * 2 ** 20;
/** All buffers of copying, comparing and hashing together. */
const PASSING_BYTES = 24 * 2 ** 20;

/**
 * Chooses method, threads and overlap. Without a limit: the requested ones, all threads, everything
 * at once. With a limit: the first of these that fits, counting every route to which the
 * decomposition may hand over: all threads with overlap, then without, then fewer threads; only
 * then methods whose first route alone fits, with the rest of the memory as their limit.
 *
 * @throws LowRankError `ERR_MEMORY`, naming the tensor and the smallest sufficient number.
 */
export function chooseSettings(
  checkpoint: Checkpoint,
  edits: readonly Edit[],
  options: { readonly method?: Method; readonly threads?: number; readonly maxMemory?: number },
): Settings {
  const { method = 'auto', maxMemory } = options;
  if (!METHODS.includes(method)) throw new ArgumentError('method', `one of ${METHODS.join(', ')}`, method);
  const threads = options.threads ?? addon().info().threads;
  if (maxMemory === undefined) return { threads, overlap: true, method, choices: undefined };
  if (!Number.isSafeInteger(maxMemory) || maxMemory <= 0) {
    throw new ArgumentError('maxMemory', 'a whole number of bytes above 0', maxMemory);
  }
  const methods = method === 'auto' ? METHODS : [method];
  let least: Need | undefined;
  for (const sure of [true, false]) {
    for (const count of options.threads === undefined ? halvings(threads) : [threads]) {
      for (const overlap of [true, false]) {
        const found = choicesWithin(checkpoint, edits, { threads: count, overlap, methods, sure, maxMemory });
        if (found.choices !== undefined) return { threads: count, overlap, method, choices: found.choices };
        if (least === undefined || found.need.total < least.total) least = found.need;
      }
    }
  }
  throw new LowRankError(
    'ERR_MEMORY',
    `${least!.tensor}: needs ${least!.total} bytes of memory, but only ${maxMemory} are allowed`,
    { hint: `Allow at least ${Math.ceil(least!.total / 1e6)} MB, or leave this tensor out.` },
  );
}

/** Predicts the memory of the job with these settings, for a limit that they were chosen for. */
export function predictMemory(
  checkpoint: Checkpoint,
  edits: readonly Edit[],
  settings: Settings,
  maxMemory?: number,
): PredictedMemory {
  const { threads, overlap } = settings;
  let peak: Omit<PredictedMemory, 'total'> = { tensor: undefined, buffers: 4 * numbersToHold(edits), native: 0 };
  for (const stage of stages(checkpoint, edits, overlap)) {
    const native = nativeOf(stage.edits, edits, settings, 'native');
    if (peak.tensor === undefined || stage.buffers + native > peak.buffers + peak.native) {
      peak = { tensor: stage.tensor, buffers: stage.buffers, native };
    }
  }
  let kept = withKept(peak.native);
  const count = countOfTensors(checkpoint, edits, settings, maxMemory);
  if (count > 1) {
    const needs = needsBeside(checkpoint, edits, settings, 'native');
    const most = (of: (need: NeedBeside) => number) =>
      needs
        .map(of)
        .sort((a, b) => b - a)
        .slice(0, count)
        .reduce((sum, bytes) => sum + bytes, 0);
    const native = most((need) => need.native);
    kept = most((need) => withKept(need.native));
    peak = {
      tensor: peak.tensor,
      buffers: passingBeside(checkpoint, edits, overlap) + most((need) => need.held),
      native,
    };
  }
  return { ...peak, total: aside(edits, threads) + peak.buffers + kept };
}

/**
 * Returns how many tensors are computed beside each other: as many as there are threads, and as fit
 * into the limit even if they are the largest. Only time depends on it.
 */
export function countOfTensors(
  checkpoint: Checkpoint,
  edits: readonly Edit[],
  settings: Settings,
  maxMemory?: number,
): number {
  const { threads, overlap } = settings;
  const bytes = ({ held, native }: NeedBeside) => held + withKept(native);
  const usual = countBeside(needsBeside(checkpoint, edits, settings, 'native').map(bytes), threads);
  if (maxMemory === undefined || usual === 1) return usual;
  // Where memory is limited, any of them may hand over to the most expensive route.
  const worst = needsBeside(checkpoint, edits, settings, 'worst').map(bytes);
  const left = maxMemory - aside(edits, threads) - passingBeside(checkpoint, edits, overlap);
  return Math.min(usual, countBeside(worst, threads, left));
}

interface NeedBeside {
  /** The tensor, its result and its numbers as float32. */
  readonly held: number;
  readonly native: number;
}

/** Lists what each tensor takes while it is computed. */
function needsBeside(
  checkpoint: Checkpoint,
  edits: readonly Edit[],
  settings: Settings,
  field: 'native' | 'worst',
): NeedBeside[] {
  const work = 4 * numbersToHold(edits);
  return byTensor(edits)
    .filter(changes)
    .map((group) => {
      const own = group.filter(({ identity }) => !identity);
      return { held: work + heldBytes(checkpoint, group), native: nativeOf(own, edits, settings, field) };
    });
}

/** Returns the bytes of tensors that are read ahead, or wait to be written. */
function passingBeside(checkpoint: Checkpoint, edits: readonly Edit[], overlap: boolean): number {
  const groups = byTensor(edits).filter(changes);
  const written = Math.max(0, ...groups.map((group) => heldBytes(checkpoint, group)));
  const read = Math.max(0, ...groups.map((group) => checkpoint.tensors.get(group[0]!.tensor)!.bytes));
  return written + (overlap ? read : 0);
}

/** Returns the largest need of native memory of a tensor's edits. */
function nativeOf(
  own: readonly Edit[],
  edits: readonly Edit[],
  { threads, method, choices }: Settings,
  field: 'native' | 'worst',
): number {
  return Math.max(
    ...own.map((edit) => nativeBytes(edit, choices?.[edits.indexOf(edit)]?.method ?? method, threads, field)),
  );
}

interface MemoryStage {
  readonly tensor: string;
  readonly edits: readonly Edit[];
  readonly buffers: number;
}

/** Lists what is in memory while each tensor is computed, apart from the decomposition. */
function stages(checkpoint: Checkpoint, edits: readonly Edit[], overlap: boolean): MemoryStage[] {
  const work = 4 * numbersToHold(edits);
  const groups = byTensor(edits).filter(changes);
  const held = groups.map((group) => heldBytes(checkpoint, group));
  return groups.map((group, i) => ({
    tensor: group[0]!.tensor,
    edits: group.filter(({ identity }) => !identity),
    // The previous tensor is being written, or V8 has not freed it yet; of the next one only the
    // bytes are read.
    buffers:
      work +
      held[i]! +
      (held[i - 1] ?? 0) +
      (overlap && i + 1 < groups.length ? checkpoint.tensors.get(groups[i + 1]![0]!.tensor)!.bytes : 0),
  }));
}

function heldBytes(checkpoint: Checkpoint, group: readonly Edit[]): number {
  const { bytes, shape, dtype } = checkpoint.tensors.get(group[0]!.tensor)!;
  const as = writtenAs(group);
  const count = elements(shape);
  const result = as === dtype ? 0 : storedBytes(count, as);
  const largest = Math.max(...group.map((edit) => (edit.slice === undefined ? 0 : elements(edit.shape))));
  // The decoded tensor before and after, and two copies of the slices to compare.
  if (needsWhole(shape, group)) return bytes + storedBytes(count, as) + 4 * (2 * count + 2 * largest);
  return bytes + result + storedBytes(largest, dtype);
}

interface Need {
  readonly tensor: string;
  readonly total: number;
}

interface Try {
  readonly threads: number;
  readonly overlap: boolean;
  readonly methods: readonly Method[];
  /** Counts the most expensive route to which a method may hand over. */
  readonly sure: boolean;
  readonly maxMemory: number;
}

function choicesWithin(
  checkpoint: Checkpoint,
  edits: readonly Edit[],
  { threads, overlap, methods, sure, maxMemory }: Try,
): { choices: MethodChoice[] } | { choices: undefined; need: Need } {
  const fixed = aside(edits, threads);
  const choices = new Map<Edit, MethodChoice>();
  let need: Need = { tensor: 'the process', total: fixed };
  for (const stage of stages(checkpoint, edits, overlap)) {
    const left = maxMemory - fixed - stage.buffers;
    for (const edit of stage.edits) {
      const costs = methods.map((method) => withKept(nativeBytes(edit, method, threads, sure ? 'worst' : 'native')));
      const fitting = methods[costs.findIndex((bytes) => bytes <= left)];
      const total = fixed + stage.buffers + Math.min(...costs);
      if (total > need.total) need = { tensor: stage.tensor, total };
      if (fitting !== undefined && left > 0) choices.set(edit, { method: fitting, maxMemory: left });
    }
  }
  if (need.total > maxMemory) return { choices: undefined, need };
  // Unchanged matrices are not computed.
  return { choices: edits.map((edit) => choices.get(edit) ?? { method: methods[0]!, maxMemory }) };
}

/** Returns what the process already holds, and temporary memory that belongs to no tensor. */
function aside(edits: readonly Edit[], threads: number): number {
  const passing = 4 * edits.reduce((sum, { shape, identity }) => (identity ? sum : sum + elements(shape)), 0);
  return (
    memoryUsage().process.rss + Math.min(passing, LATE_BYTES) + RUNTIME_BYTES + THREAD_BYTES * threads + PASSING_BYTES
  );
}

/** Returns the memory of a decomposition, with what may be left of an earlier one. */
function withKept(native: number): number {
  return native + Math.min(native, KEPT_BYTES);
}

function nativeBytes(edit: Edit, method: Method, threads: number, field: 'native' | 'worst'): number {
  const { kind, amount } = edit.intervention;
  return kindOf(kind).memory({ ...edit, amount }, { method, threads, field });
}

/** Yields n, n / 2, ..., 1. */
function halvings(n: number): number[] {
  const counts = [n];
  while (counts.at(-1)! > 1) counts.push(Math.floor(counts.at(-1)! / 2));
  return counts;
}
