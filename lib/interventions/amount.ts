import { ArgumentError } from '../errors.js';
import { rankOfFraction, rankOfRate } from '../lowrank/rank.js';

/**
 * How much is kept: rho in [0, 1]; the paper's rate in [0, 10], which is 10 (1 - rho) up to float
 * rounding; a number of components, all of them for a matrix that has fewer; a share of the energy,
 * the sum of squared singular values; for `band` the shares at which it starts and ends.
 */
export type Amount =
  | { readonly rankFraction: number }
  | { readonly rate: number }
  | { readonly rank: number }
  | { readonly energy: number }
  | { readonly band: readonly [from: number, to: number] };

/** The amounts that a grid tries. */
export interface GridAmounts {
  readonly rhos: readonly number[];
  readonly bands: readonly (readonly [from: number, to: number])[];
}

/** The notation of an amount. */
export interface AmountForm {
  /** Whether an amount must be given. */
  readonly needed: boolean;
  /**
   * Parses an amount.
   *
   * @throws {@link ArgumentError} naming `argument` if the text is not an amount of this form.
   */
  parse(text: string, argument: string): Amount;
  /**
   * Converts the paper's rate.
   *
   * @throws {@link ArgumentError} if a rate cannot express this form.
   */
  ofRate(rate: number): Amount;
  /**
   * Lists the amounts of a grid in the order of trial, each with the end of its spec; undefined for
   * a kind without amount.
   */
  grid(amounts: GridAmounts): { readonly rho: number | readonly [number, number]; readonly text: string | undefined }[];
}

const DECIMAL = /^(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

export function isDecimal(text: string): boolean {
  return DECIMAL.test(text);
}

/** The amounts that are written with their names: `k=40`. */
const NAMED = {
  rho: (text: string) => within(text, 1, (rankFraction) => ({ rankFraction })),
  rate: (text: string) => within(text, 10, (rate) => ({ rate })),
  k: (text: string) => (/^\d{1,9}$/.test(text) ? { rank: Number(text) } : undefined),
  energy: (text: string) => within(text, 1, (energy) => ({ energy })),
} as const satisfies Readonly<Record<string, (text: string) => Amount | undefined>>;
const NAMED_IN_WORDS = { rho: 'rho=0.1', rate: 'rate=9', k: 'k=40', energy: 'energy=0.95' } as const;

function within(text: string, most: number, make: (value: number) => Amount): Amount | undefined {
  return DECIMAL.test(text) && Number(text) <= most ? make(Number(text)) : undefined;
}

/** Returns the form of one amount: a share, or what has one of these names. */
function oneAmount(names: readonly (keyof typeof NAMED)[]): Pick<AmountForm, 'parse'> {
  const others = names.map((name) => NAMED_IN_WORDS[name]).join(', ');
  return {
    parse: (text, argument) => {
      const [, name, value] = /^([a-z]+)=(.*)$/s.exec(text) ?? [];
      const amount = name === undefined ? NAMED.rho(text) : names.includes(name as 'k') && NAMED[name as 'k'](value!);
      if (amount) return amount;
      throw new ArgumentError(argument, `rho, the share to keep, from 0 to 1, or ${others}`, text);
    },
  };
}

/** One share: `0.1`, `rho=0.1`, `rate=9`. */
export const SHARE: AmountForm = {
  ...oneAmount(['rho', 'rate']),
  needed: true,
  ofRate: (rate) => ({ rate }),
  grid: ({ rhos }) => [...new Set(rhos)].sort((a, b) => a - b).map((rho) => ({ rho, text: `${checkedRho(rho)}` })),
};

/** A share of the components, or their number: `0.1`, `k=40`. */
export const COUNT: AmountForm = { ...SHARE, ...oneAmount(['rho', 'rate', 'k']) };

/** How many components are kept: `0.1`, `k=40`, `energy=0.95`. */
export const RANK: AmountForm = { ...SHARE, ...oneAmount(['rho', 'rate', 'k', 'energy']) };

/** Two shares: `0.1-0.5`. */
export const BAND: AmountForm = {
  needed: true,
  parse: (text, argument) => {
    // A minus sign after an e belongs to the exponent.
    const [from, to, ...more] = text.split(/(?<![eE])-/).map((share) => parseShare(share, argument));
    if (from === undefined || to === undefined || more.length > 0 || from >= to) {
      throw new ArgumentError(argument, 'two shares, the smaller first, such as 0.1-0.5', text);
    }
    return { band: [from, to] };
  },
  ofRate: (rate) => {
    throw new ArgumentError('rate', 'layers:types:from-to for band', rate);
  },
  grid: ({ bands }) => bands.map((rho) => ({ rho, text: `${rho[0]}-${rho[1]}` })),
};

/** No amount is needed, since there is only one; a given share is ignored. */
export const NO_AMOUNT: AmountForm = {
  ...SHARE,
  needed: false,
  grid: () => [{ rho: 0, text: undefined }],
};

/** Returns how many of `full` items an amount keeps that does not depend on the numbers. */
export function countOfShare(kind: string, amount: Amount, full: number): number {
  if ('rate' in amount) return rankOfRate(amount.rate, full);
  if ('rank' in amount) return Math.min(amount.rank, full);
  if ('rankFraction' in amount) return rankOfFraction(amount.rankFraction, full);
  throw new ArgumentError('amount', `one share for ${kind}`, amount);
}

/** Returns the first of `full` items that a band keeps, and the first after it. */
export function limitsOfBand(amount: Amount, full: number): [from: number, to: number] {
  if (!('band' in amount)) throw new ArgumentError('amount', 'two shares, such as 0.1-0.5, for band', amount);
  const [from, to] = amount.band;
  return [rankOfFraction(from, full), rankOfFraction(to, full)];
}

function parseShare(text: string, argument: string): number {
  const rho = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (!(rho >= 0 && rho <= 1)) throw new ArgumentError(argument, 'rho, the share to keep, from 0 to 1', text);
  return rho;
}

function checkedRho(rho: number): number {
  if (rho >= 0 && rho <= 1) return rho;
  throw new ArgumentError('rhos', 'shares from 0 to 1', rho);
}
