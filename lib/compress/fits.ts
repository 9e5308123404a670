/** The choices of all matrices together that fit into a budget, by the unit that it counts. */

import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { formatBytes, formatShare } from '../text/format.js';
import { weightBytes } from './budget.js';
import type { Fit, Offered } from './choose.js';
import type { Way } from './menu.js';
import { chooseWithin, menuFrom, sizeOf } from './menus.js';
import { storedNumbers } from './stored.js';
import { changesFor, type Decided } from './write.js';

/** The unit of a budget. */
type Unit = (one: Offered, way: Way) => number;

const inBytes: Unit = (_, { bytes }) => bytes;
const inNumbers: Unit = ({ matrix }, { stored }) => storedNumbers(matrix, stored);

function chosen(
  offered: readonly Offered[],
  budget: number,
  unit: Unit,
  weightOf: (one: Offered) => number,
): Way[] | undefined {
  const menus = offered.map((one) => {
    const weight = weightOf(one);
    return menuFrom(one.ways.map((way) => ({ size: unit(one, way), loss: weight * way.loss, way })));
  });
  return chooseWithin(menus, budget)?.map(({ way }) => way);
}

/** The smallest way to store each matrix. */
function smallest(offered: readonly Offered[], unit: Unit): Way[] {
  return offered.map((one) => one.ways.reduce((least, way) => (unit(one, way) < unit(one, least) ? way : least)));
}

/** The least and the most that all matrices together take. */
export function extremes(offered: readonly Offered[]): readonly [least: number, most: number] {
  const least = smallest(offered, inBytes).reduce((sum, { bytes }) => sum + bytes, 0);
  return [least, offered.reduce((sum, { matrix }) => sum + matrix.info.bytes, 0)];
}

/** What becomes of matrices that are stored in these ways. */
function decidedBy(offered: readonly Offered[], ways: readonly Way[]): Decided[] {
  return offered.map(({ matrix }, i) => ({ matrix, stored: ways[i]!.stored }));
}

/** Choices that hold at most so many numbers. */
export function withinNumbers(offered: readonly Offered[], budget: number): Fit {
  return async (weightOf) => {
    const found = chosen(offered, budget, inNumbers, weightOf);
    if (found !== undefined) return found;
    const least = sizeOf(
      smallest(offered, inNumbers).map((way, i) => ({ size: inNumbers(offered[i]!, way), loss: 0 })),
    );
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `a budget of ${Math.floor(budget)} numbers: even at the smallest ranks the matrices hold ${least}`,
      { hint: 'Allow more, or compress heads too.' },
    );
  };
}

/**
 * Choices with which all layers together take at most a share of the time that they take now.
 *
 * @param costs milliseconds
 */
export function withinTime(
  path: string,
  offered: readonly Offered[],
  share: number,
  costs: ReadonlyMap<Way, number>,
): Fit {
  const inTime: Unit = (_, way) => costs.get(way)!;
  return async (weightOf) => {
    const whole = timeOf(denseWays(offered), costs);
    const found = chosen(offered, share * whole, inTime, weightOf);
    if (found !== undefined) return found;
    const least = formatShare(timeOf(smallest(offered, inTime), costs) / whole);
    throw new LowRankError('ERR_UNSUPPORTED', `${path}: its layers cannot take ${formatShare(share)} of their time`, {
      hint: `The least is ${least} here; other numbers of tokens have other costs.`,
    });
  };
}

/** What all matrices are now. */
export function denseWays(offered: readonly Offered[]): Way[] {
  return offered.map(({ ways }) => ways.find(({ stored }) => stored.kind === 'dense')!);
}

/** The milliseconds of all layers. */
export function timeOf(ways: readonly Way[], costs: ReadonlyMap<Way, number>): number {
  return ways.reduce((sum, way) => sum + costs.get(way)!, 0);
}

/** Choices whose tensors take at most so many bytes. */
export function withinBytes(path: string, offered: readonly Offered[], budget: number): Fit {
  return async (weightOf) => {
    const found = chosen(offered, budget, inBytes, weightOf);
    if (found !== undefined) return found;
    const [least] = extremes(offered);
    throw tooSmall(
      `${path}: its matrices cannot be stored in ${formatBytes(budget)}: the least is ${formatBytes(least)}`,
      ['Allow at least', bitsOf(offered, least)],
    );
  };
}

/**
 * Choices with which all weight files take at most `size` bytes. Names and nodes differ from choice
 * to choice: what a file has too much is taken from the room of the tensors.
 *
 * @param accuracyLevel of MatMulNBits, 0 to 4
 */
export function withinFiles(
  checkpoint: Checkpoint,
  offered: readonly Offered[],
  size: number,
  accuracyLevel: number | undefined,
): Fit {
  return async (weightOf) => {
    const [least, most] = extremes(offered);
    let room = size - ((await weightBytes(checkpoint)) - most);
    for (;;) {
      const ways = chosen(offered, room, inBytes, weightOf);
      if (ways === undefined) break;
      const excess = (await weightBytes(checkpoint, changesFor(decidedBy(offered, ways), accuracyLevel))) - size;
      if (excess <= 0) return ways;
      room -= excess;
    }
    const files = await weightBytes(
      checkpoint,
      changesFor(decidedBy(offered, smallest(offered, inBytes)), accuracyLevel),
    );
    throw tooSmall(`${checkpoint.path}: cannot become ${formatBytes(size)}: the least is ${formatBytes(files)}`, [
      'Allow at least that, which is',
      bitsOf(offered, least),
    ]);
  };
}

function bitsOf(offered: readonly Offered[], bytes: number): number {
  return (8 * bytes) / offered.reduce((sum, { matrix: { m, n } }) => sum + m * n, 0);
}

function tooSmall(message: string, [allow, bits]: readonly [string, number]): LowRankError {
  const hint = `${allow} ${(Math.ceil(100 * bits) / 100).toFixed(2)} bits a weight, or compress heads and embeddings too.`;
  return new LowRankError('ERR_UNSUPPORTED', message, { hint });
}
