import { chooseRank } from './truncate.js';

/** The share of an update's energy below which an adapter is a poor stand-in for it. */
export const ENOUGH_ENERGY = 0.9;
/** A rank that was chosen for exactly this share may miss it by as much when the factors are rounded to BF16. */
const ROUNDING = 1e-4;

/** Where an adapter keeps less than 90 % of the energy of an update. */
export interface Shortfall {
  /** The module that keeps the smallest share. */
  readonly module: string;
  readonly keptEnergy: number;
  readonly rank: number;
  /** The smallest rank that would keep 90 % of this module's energy; undefined where its singular values are not known. */
  readonly sufficientRank: number | undefined;
  /** How many modules keep less than 90 %. */
  readonly modules: number;
}

/** What is known of a module after its rank was cut. */
interface Kept {
  readonly name: string;
  readonly rank: number;
  readonly keptEnergy: number;
}

/**
 * The shortfall of an adapter; undefined where every module keeps enough.
 *
 * @param spectrumOf - all singular values of a module's update, descending; undefined where they are not known
 */
export async function findShortfall<T extends Kept>(
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
