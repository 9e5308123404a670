import { ROUTES } from '../addon/contract.js';
import { aFinite, aMagnitude, aQuantity, aWhole, type Check, fields, list, object, oneOf } from '../files/schema.js';

/** Checks a share of energy, which rounding may make slightly negative. */
export const aKeptEnergy: Check = aFinite(-1e-3, 2 ** 50);

/**
 * Checks a `Certificate` that is read back from a file.
 *
 * @param excessBound of the field that may be an infinity, which files store in different ways
 */
export function certificateCheck(excessBound: Check): Check {
  return object({
    rank: aWhole(),
    method: oneOf(...ROUTES),
    methodsTried: list(oneOf(...ROUTES)),
    ...fields(aMagnitude, 'norm', 'spectralError'),
    ...fields(aQuantity, 'relativeError', 'discardedEnergy', 'seconds'),
    keptEnergy: aKeptEnergy,
    excessBound,
    bytes: aWhole(),
  });
}
