/** Choices for several things under one budget of their sizes. Pure: numbers in, choices out. */

/** One thing that may become of a matrix. */
export interface Choice {
  /** In any unit that the budget has too. */
  readonly size: number;
  readonly loss: number;
}

/** For each thing its choices: each is larger and loses less than the one before. */
type Menus<C extends Choice> = readonly (readonly C[])[];

/** The choices that no other beats, from the smallest on. */
export function menuFrom<C extends Choice>(choices: readonly C[]): C[] {
  const ordered = [...choices].sort((a, b) => a.size - b.size || a.loss - b.loss);
  const menu: C[] = [];
  for (const choice of ordered) if (menu.length === 0 || choice.loss < menu.at(-1)!.loss) menu.push(choice);
  return menu;
}

export function sizeOf(choices: readonly Choice[]): number {
  return choices.reduce((sum, { size }) => sum + size, 0);
}

/**
 * Takes one choice from each menu, so that the sum of losses is small and all fit into the budget.
 *
 * A Lagrange multiplier prices size; at each price every menu gives its best choice, and the lowest
 * price whose choices fit is found by bisection (Everett 1963): they are the best of all that take
 * as little. Exchanges between two menus then use what the budget leaves.
 *
 * @param menus as {@link menuFrom} makes them
 * @returns undefined where even the smallest choices do not fit
 */
export function chooseWithin<C extends Choice>(menus: Menus<C>, budget: number): C[] | undefined {
  if (sizeOf(menus.map((menu) => menu[0]!)) > budget) return undefined;
  return improve(menus, atPrice(menus, lowestPrice(menus, budget)), budget);
}

/** What each takes where a unit of size costs `price`: of equal ones, the smaller. */
function atPrice<C extends Choice>(menus: Menus<C>, price: number): C[] {
  const cost = ({ loss, size }: C) => loss + price * size;
  return menus.map((menu) => menu.reduce((best, choice) => (cost(choice) < cost(best) ? choice : best)));
}

/** Bits of a price: far more than the ratio of any two losses has. */
const BISECTIONS = 200;

/** The lowest price whose choices fit into the budget. */
function lowestPrice(menus: Menus<Choice>, budget: number): number {
  if (sizeOf(atPrice(menus, 0)) <= budget) return 0;
  let [low, high] = [1e-300, 1e300];
  for (let i = 0; i < BISECTIONS && low < high; i++) {
    const price = Math.sqrt(low) * Math.sqrt(high);
    if (sizeOf(atPrice(menus, price)) > budget) low = price;
    else high = price;
  }
  return high;
}

/**
 * Between the choices of two prices lie others that fit better, and dense is a long step from the
 * last rank: one is given more, from what is left or from what another can spare, as long as that
 * lowers the loss of all.
 */
function improve<C extends Choice>(menus: Menus<C>, start: readonly C[], budget: number): C[] {
  const chosen = [...start];
  for (;;) {
    const left = budget - sizeOf(chosen);
    let best: { gain: number; changes: (readonly [index: number, choice: C])[] } | undefined;
    const consider = (gain: number, ...changes: (readonly [number, C])[]) => {
      if (gain > (best?.gain ?? 0)) best = { gain, changes };
    };
    for (const [i, menu] of menus.entries()) {
      for (const more of menu) {
        const gain = chosen[i]!.loss - more.loss;
        const lacking = more.size - chosen[i]!.size - left;
        if (gain <= 0) continue;
        if (lacking <= 0) {
          consider(gain, [i, more]);
          continue;
        }
        for (const [j, other] of menus.entries()) {
          const now = chosen[j]!;
          const less = j === i ? undefined : largestWithin(other, now.size - lacking);
          if (less !== undefined) consider(gain - (less.loss - now.loss), [i, more], [j, less]);
        }
      }
    }
    // Smaller gains are rounding, which could go round in circles.
    if (best === undefined || best.gain <= 1e-12 * chosen.reduce((sum, { loss }) => sum + loss, 0)) return chosen;
    for (const [index, choice] of best.changes) chosen[index] = choice;
  }
}

/** The largest choice of at most `size`. */
function largestWithin<C extends Choice>(menu: readonly C[], size: number): C | undefined {
  let [low, high] = [0, menu.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (menu[middle]!.size <= size) low = middle + 1;
    else high = middle;
  }
  return menu[low - 1];
}
