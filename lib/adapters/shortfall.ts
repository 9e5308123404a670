import { chooseRank } from './truncate.js';

/** The share of an update's energy below which an adapter replaces it poorly. */
export const ENOUGH_ENERGY = 0.9;
/**
 * A rank chosen for exactly this share may miss it by as much when the factors are rounded to BF16.
 */
const ROUNDING = 1e-4;

/** Modules of an adapter that keep less than 90 % of the energy of their updates. */
export interface Shortfall {
  /** The module that keeps the smallest share. */
  readonly module: string;
  readonly keptEnergy: number;
  readonly rank: number;
  /**
   * The smallest rank that would keep 90 % of this module's energy; undefined if its singular
   * values are not known.
   */
  readonly sufficientRank: number | undefined;
  /** How many modules keep less than 90 %. */
  readonly modules: number;
}

/** A module after its rank was reduced. */
interface TruncatedModule {
  readonly name: string;
  readonly rank: number;
  readonly keptEnergy: number;
}

/**
 * Returns the shortfall of an adapter; undefined if every module keeps enough.
 *
 * @param spectrumOf - returns all singular values of a module's update in descending order;
 *   undefined if they are not known
 */
export async function findShortfall<T extends TruncatedModule>(
  modules: readonly T[],
  spectrumOf: (module: T) => Promise<ArrayLike<number> | undefined>,
): Promise<Shortfall | undefined> {
  const short = modules.filter(({ keptEnergy }) => keptEnergy < ENOUGH_ENERGY - ROUNDING);
  if (short.length === 0) return undefined;
  const worst = short.reduce((least, module) => (module.keptEnergy < least.keptEnergy ? module : least));
  const spectrum = await spectrumOf(worst);
  const sufficientRank = spectrum && chooseRank(Float64Array.from(spectrum), { energy: ENOUGH_ENERGY });
  const { name, keptEnergy, rank } = worst;
  return { module: name, keptEnergy, rank, sufficientRank, modules: short.length };
}
