import { ArgumentError, describe, LowRankError } from '../errors.js';
import { checkedBelow, checkOptions, number, type OptionTypes } from '../options.js';
import type { WritableType } from '../tensor/dtype.js';
import { type PlainTensor, sameShape } from '../tensor/tensor.js';
import {
  factorsOf,
  type LoraAdapter,
  type LoraModule,
  type PeftFactors,
  requirePlain,
  requireTypeFor,
  writableType,
} from './adapter.js';
import { assemble, type Update } from './assemble.js';
import { LORA_JOB_OPTIONS, type LoraJobOptions, yieldTurn } from './resize.js';
import { findShortfall, type Shortfall } from './shortfall.js';
import { checkChoice, type LoraRankChoice, truncateProduct } from './truncate.js';

export interface WeightedLora {
  readonly adapter: LoraAdapter;
  /** The factor of its updates; may be negative. */
  readonly weight: number;
}

const WEIGHTED_LORA: OptionTypes<WeightedLora> = { adapter: checkedBelow(), weight: number };

/** One module of the result. */
export interface MergedModule {
  readonly name: string;
  /** The sum of the adapters' ranks, or the chosen rank. */
  readonly rank: number;
  /**
   * The share of the sum of squared singular values of the weighted sum that was kept; 1 if no rank
   * was chosen.
   */
  readonly keptEnergy: number;
}

/** The adapter that several were merged into. */
export interface MergedLora {
  readonly adapter: LoraAdapter;
  readonly modules: readonly MergedModule[];
  /** Set if a chosen rank keeps less than 90 % of a sum's energy. */
  readonly shortfall: Shortfall | undefined;
}

/**
 * Merges adapters into one whose updates are the weighted sum: sum_i weight_i scaling_i B_i A_i.
 * The factors are put side by side, so the sum is exact and has no cross terms B_i A_j, which
 * adding up the factors would give. Its rank is the sum of the ranks, unless `rank`, `energy` or
 * `ratio` truncates it to the best approximation of a smaller rank.
 *
 * The configuration is the first adapter's, with full module names.
 *
 * @throws {@link LowRankError} `ERR_ARGUMENT` without adapters or for an invalid weight;
 *   `ERR_UNSUPPORTED` if an update is more than scaling * B A, or if the adapters differ in
 *   `fan_in_fan_out`; `ERR_SHAPE`, naming a module whose updates differ in shape; `ERR_NOT_FINITE`;
 *   the signal's reason when aborted.
 */
export async function mergeLoras(
  parts: readonly WeightedLora[],
  options?: (LoraRankChoice | { rank?: undefined; energy?: undefined; ratio?: undefined }) & LoraJobOptions,
): Promise<MergedLora> {
  const given = checkOptions(options, LORA_JOB_OPTIONS, 'mergeLoras');
  const choice = readChoice(given);
  checkParts(parts);
  requireTypeFor(parts[0]!.adapter.architecture, given.dtype);
  const names = [...new Set(parts.flatMap(({ adapter }) => [...adapter.modules.keys()]))];
  const updates: Update[] = [];
  const report: MergedModule[] = [];
  const spectra = new Map<string, Float64Array>();
  for (const name of names) {
    await yieldTurn(given);
    const found = parts.flatMap(({ adapter, weight }) => {
      const module = adapter.modules.get(name);
      return module === undefined ? [] : [{ module, weight }];
    });
    requireSameShape(found.map(({ module }) => module));
    const sum = sideBySide(found);
    const truncated = choice === undefined ? undefined : truncateProduct(sum, 1, choice);
    if (truncated !== undefined) spectra.set(name, truncated.singularValues);
    const kept = truncated ?? { ...sum, rank: sum.a.shape[0]!, keptEnergy: 1 };
    const dtype = given.dtype ?? commonDtype(found.map(({ module }) => module));
    updates.push({ name, kind: found[0]!.module.kind, dtype, a: kept.a, b: kept.b });
    report.push({ name, rank: kept.rank, keptEnergy: kept.keptEnergy });
  }
  const config = {
    ...parts[0]!.adapter.config,
    target_modules: names,
    exclude_modules: null,
    layers_to_transform: null,
    layers_pattern: null,
  };
  const { architecture } = parts[0]!.adapter;
  const metadata = architecture === undefined ? new Map([['format', 'pt']]) : undefined;
  return {
    adapter: { ...assemble(config, updates), others: new Map(), metadata, architecture, source: undefined },
    modules: report,
    shortfall: await findShortfall(report, async ({ name }) => spectra.get(name)),
  };
}

function readChoice(
  options: Partial<Record<'rank' | 'energy' | 'ratio', number | undefined>>,
): LoraRankChoice | undefined {
  if (options.rank === undefined && options.energy === undefined && options.ratio === undefined) return undefined;
  checkChoice(options as LoraRankChoice);
  return options as LoraRankChoice;
}

function checkParts(parts: readonly WeightedLora[]): void {
  if (!Array.isArray(parts) || parts.length === 0) throw new ArgumentError('parts', 'at least one adapter', parts);
  for (const part of parts) {
    const { adapter, weight } = checkOptions(part, WEIGHTED_LORA, 'a part of mergeLoras');
    if (!Number.isFinite(weight)) throw new ArgumentError('weight', 'a finite number', weight);
    requirePlain(adapter, 'merge');
  }
  const forms = new Set(parts.map(({ adapter }) => adapter.architecture));
  if (forms.size > 1) {
    const named = [...forms].map((form) => (form === undefined ? "PEFT's form" : `GGUF (${form})`)).join(' and ');
    throw new LowRankError('ERR_UNSUPPORTED', `the adapters are in ${named}, whose modules have different names`, {
      hint: 'Convert one of them first: lowrank lora convert, or convertLora.',
    });
  }
  const flags = parts.map(({ adapter }) => adapter.config.fan_in_fan_out === true);
  if (new Set(flags).size > 1) {
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      'the adapters differ in fan_in_fan_out: one configuration cannot have both',
      {
        hint: 'Correct adapter_config.json of the one that does not fit the base model.',
      },
    );
  }
}

function requireSameShape(modules: readonly LoraModule[]): void {
  const shape = ({ a, b }: LoraModule) => [b.shape[0]!, a.shape[1]!];
  const text = (module: LoraModule) => `${module.kind} ${describe(shape(module))}`;
  const first = modules[0]!;
  const other = modules.find((module) => module.kind !== first.kind || !sameShape(shape(module), shape(first)));
  if (other === undefined) return;
  throw new LowRankError('ERR_SHAPE', `${first.name}: one adapter has ${text(first)}, another ${text(other)}`, {
    hint: 'The adapters belong to different base models.',
  });
}

/** [w1 s1 B1, w2 s2 B2, ...] and [A1; A2; ...]. */
function sideBySide(parts: readonly { module: LoraModule; weight: number }[]): PeftFactors {
  const factors = parts.map(({ module, weight }) => ({ ...factorsOf(module), factor: weight * module.scaling }));
  const rank = parts.reduce((sum, { module }) => sum + module.rank, 0);
  const [out, width] = [factors[0]!.b.shape[0]!, factors[0]!.a.shape[1]!];
  const a = new Float32Array(rank * width);
  const b = new Float32Array(out * rank);
  let at = 0;
  for (const { a: ownA, b: ownB, factor } of factors) {
    const r = ownA.shape[0]!;
    a.set(ownA.data, at * width);
    for (let i = 0; i < out; i++) {
      for (let k = 0; k < r; k++) b[i * rank + at + k] = ownB.data[i * r + k]! * factor;
    }
    at += r;
  }
  return { a: matrix(a, rank, width), b: matrix(b, out, rank) };
}

function matrix(data: Float32Array, m: number, n: number): PlainTensor {
  return { data, shape: [m, n] };
}

function commonDtype(modules: readonly LoraModule[]): WritableType {
  const dtypes = new Set(modules.flatMap(({ a, b }) => [writableType(a), writableType(b)]));
  return dtypes.size === 1 ? writableType(modules[0]!.a) : 'F32';
}
