import { setImmediate } from 'node:timers/promises';
import { abortSignal, checkOptions, type OptionTypes, oneOf } from '../options.js';
import { WRITABLE_TYPES, type WritableType } from '../tensor/dtype.js';
import { factorsOf, type LoraAdapter, type LoraModule, requirePlain, requireTypeFor, writableType } from './adapter.js';
import { assemble, type Update } from './assemble.js';
import { findShortfall, type Shortfall } from './shortfall.js';
import { checkChoice, LORA_RANK_CHOICE, type LoraRankChoice, truncateProduct } from './truncate.js';

export interface LoraJobOptions {
  /** The type of the factors; unchanged by default. Q8_0 only for adapters in GGUF. */
  readonly dtype?: WritableType | undefined;
  /** Stops the job between two modules. */
  readonly signal?: AbortSignal | undefined;
}

export const LORA_JOB_OPTIONS: OptionTypes<LoraRankChoice & LoraJobOptions> = {
  ...LORA_RANK_CHOICE,
  dtype: oneOf(WRITABLE_TYPES),
  signal: abortSignal,
};

/** The result for one module. */
export interface ResizedModule {
  readonly name: string;
  readonly kind: LoraModule['kind'];
  /** [out, in] */
  readonly shape: readonly [number, number];
  readonly rankBefore: number;
  readonly rank: number;
  /** Those of the update including its scaling, in descending order: `rankBefore` of them. */
  readonly singularValues: readonly number[];
  /** The share of the sum of their squares that was kept. */
  readonly keptEnergy: number;
  /** ||update - kept part||_F / ||update||_F, from the singular values that were dropped. */
  readonly relativeError: number;
}

/** A resized adapter and the results for its modules. */
export interface ResizedLora {
  readonly adapter: LoraAdapter;
  readonly modules: readonly ResizedModule[];
  /** Set if the new rank keeps less than 90 % of an update's energy. */
  readonly shortfall: Shortfall | undefined;
}

/**
 * Replaces the modules' updates by their best approximation of a smaller rank: exact, in float64,
 * by QR of both factors and the SVD of an r x r matrix; the update itself is never formed.
 * Differing ranks are listed in `rank_pattern`, and `lora_alpha` becomes equal to `r`.
 *
 * @param options - `rank`, `energy` or `ratio`; see {@link LoraRankChoice}
 * @throws {@link LowRankError} `ERR_UNSUPPORTED`, naming the reason, if an update is more than
 *   scaling * B A; `ERR_NOT_FINITE`; `ERR_ARGUMENT`; the signal's reason when aborted.
 */
export async function resizeLora(adapter: LoraAdapter, options: LoraRankChoice & LoraJobOptions): Promise<ResizedLora> {
  const given = checkOptions(options, LORA_JOB_OPTIONS, 'resizeLora');
  checkChoice(given);
  requirePlain(adapter, 'resize');
  requireTypeFor(adapter.architecture, given.dtype);
  const updates: Update[] = [];
  const report: ResizedModule[] = [];
  for (const module of adapter.modules.values()) {
    await yieldTurn(given);
    const { name, kind } = module;
    const { a, b, ...kept } = truncateProduct(factorsOf(module), module.scaling, given);
    updates.push({ name, kind, a, b, dtype: given.dtype ?? writableType(module.b) });
    report.push(resized(module, kept));
  }
  const shortfall = await findShortfall(report, async ({ singularValues }) => singularValues);
  return { adapter: { ...adapter, ...assemble(adapter.config, updates) }, modules: report, shortfall };
}

/** Lets the process do other work, and handles an abort. */
export async function yieldTurn({ signal }: LoraJobOptions): Promise<void> {
  await setImmediate();
  signal?.throwIfAborted();
}

function resized(
  { name, kind, a, b, rank: rankBefore }: LoraModule,
  { rank, singularValues, keptEnergy }: Omit<ReturnType<typeof truncateProduct>, 'a' | 'b'>,
): ResizedModule {
  const dropped = Math.hypot(...singularValues.subarray(rank));
  return {
    name,
    kind,
    rankBefore,
    rank,
    keptEnergy,
    shape: [b.shape[0]!, a.shape[1]!],
    singularValues: [...singularValues],
    relativeError: dropped === 0 ? 0 : dropped / Math.hypot(...singularValues),
  };
}
