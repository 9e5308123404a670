import { element, type Html } from './html.js';

/** A model as a point: what it costs, and how good it is. */
export interface Point {
  readonly name: string;
  readonly cost: number;
  readonly quality: number;
}

export interface FrontAxes {
  /** Distinguishes the figures of a page. */
  readonly id: string;
  readonly title: string;
  readonly cost: { readonly name: string; readonly show: (value: number) => string };
  readonly quality: { readonly name: string; readonly show: (value: number) => string; readonly lessIsBetter: boolean };
}

const WIDTH = 340;
const HEIGHT = 230;
const LEFT = 14;
const RIGHT = 326;
const TOP = 34;
const BOTTOM = 190;

/**
 * Returns the points that no other one beats: none is as cheap and as good, and cheaper or better.
 * By ascending cost.
 *
 * @internal
 */
export function frontOf(points: readonly Point[], lessIsBetter: boolean): Point[] {
  const sign = lessIsBetter ? -1 : 1;
  const beaten = (a: Point, b: Point) =>
    b.cost <= a.cost &&
    sign * b.quality >= sign * a.quality &&
    (b.cost < a.cost || sign * b.quality > sign * a.quality);
  return points.filter((a) => !points.some((b) => beaten(a, b))).sort((a, b) => a.cost - b.cost);
}

/**
 * Draws points over their costs, with the front as a line of steps. Better is higher, cheaper is
 * further left. Points are numbered as in the tables.
 */
export function frontFigure(points: readonly Point[], { id, title, cost, quality }: FrontAxes): Html {
  const x = scale(
    points.map((point) => point.cost),
    LEFT + 16,
    RIGHT - 16,
  );
  const qualities = points.map((point) => point.quality);
  const y = quality.lessIsBetter ? scale(qualities, TOP + 10, BOTTOM - 10) : scale(qualities, BOTTOM - 10, TOP + 10);
  const front = frontOf(points, quality.lessIsBetter);
  const steps = front.map(
    (point, i) => `${i === 0 ? 'M' : 'H'}${x(point.cost)}${i === 0 ? ' ' : 'V'}${y(point.quality)}`,
  );
  const [cheapest, dearest] = [Math.min, Math.max].map((pick) => pick(...points.map((point) => point.cost))) as [
    number,
    number,
  ];
  const [least, most] = [Math.min(...qualities), Math.max(...qualities)];
  const best = quality.lessIsBetter ? least : most;
  const label = (at: { x: number; y: number; end?: boolean }, text: string) =>
    element('text', { class: 'quiet', x: at.x, y: at.y, 'text-anchor': at.end ? 'end' : 'start' }, text);
  return element(
    'figure',
    {},
    element(
      'svg',
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-labelledby': `${id}-title ${id}-text` },
      element('title', { id: `${id}-title` }, title),
      element(
        'desc',
        { id: `${id}-text` },
        `Not beaten by another: ${front.map(({ name }) => name).join(', ')}. The tables have the numbers.`,
      ),
      element('path', { class: 'grid', d: `M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}` }),
      label(
        { x: LEFT, y: TOP - 16 },
        `${quality.name}, best ${quality.show(best)}, worst ${quality.show(best === least ? most : least)}`,
      ),
      label({ x: LEFT, y: BOTTOM + 16 }, cost.show(cheapest)),
      label({ x: RIGHT, y: BOTTOM + 16, end: true }, cost.show(dearest)),
      element('text', { class: 'quiet', x: WIDTH / 2, y: BOTTOM + 32, 'text-anchor': 'middle' }, cost.name),
      element('path', { class: 'cut', d: steps.join('') }),
      points.map((point, i) => [
        element('circle', {
          class: front.includes(point) ? 'better' : 'unsure',
          cx: x(point.cost),
          cy: y(point.quality),
          r: 4,
        }),
        label({ x: x(point.cost) + 6, y: y(point.quality) - 5 }, String(i)),
      ]),
    ),
    element('figcaption', {}, title),
  );
}

/** Maps the range of the values to pixels; equal values to the middle. */
function scale(values: readonly number[], from: number, to: number): (value: number) => number {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return (value) => {
    const share = high === low ? 0.5 : (value - low) / (high - low);
    return Math.round(10 * (from + share * (to - from))) / 10;
  };
}
