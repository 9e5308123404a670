import type { Comparison } from '../evaluate/metrics/summary.js';
import { LESS_IS_BETTER } from '../evaluate/metrics/summary.js';
import { formatCount, formatShare } from '../text/format.js';
import type { Findings } from './findings.js';
import { type Content, element, type Html } from './html.js';
import { change, changeText, nameOfMetric, number, text, unitOf } from './numbers.js';
import { note } from './page.js';
import { table } from './table.js';

interface Row {
  readonly set: 'test' | 'validation';
  readonly comparison: Comparison;
}

/** Renders how certain the difference between the chosen model and the base is. */
export function intervals({ test }: Findings): Content {
  if (test === undefined) return undefined;
  const rows: Row[] = [
    ...test.comparisons.map((comparison) => ({ set: 'test' as const, comparison })),
    ...test.validation.map((comparison) => ({ set: 'validation' as const, comparison })),
  ];
  if (rows.length === 0) return undefined;
  return [
    forest(rows),
    table<Row>(
      'The chosen model minus the unedited model, on the same questions',
      [
        { title: 'what', cell: ({ set, comparison }) => `${set} ${nameOfMetric(comparison.metric)}` },
        {
          title: 'difference',
          holds: 'numbers',
          cell: ({ comparison: { metric, difference } }) => change(metric, difference),
        },
        {
          title: '95 % interval',
          holds: 'numbers',
          cell: ({ comparison: { metric, low, high } }) => [change(metric, low), ' to ', change(metric, high)],
        },
        { title: 'asked', holds: 'numbers', cell: ({ comparison: { pairs } }) => number(pairs, formatCount) },
        {
          title: 'draws that are better',
          holds: 'numbers',
          cell: ({ comparison: { better } }) => number(better, formatShare),
        },
      ],
      rows,
    ),
    note(
      'Intervals of a paired bootstrap: a drawn question counts for both models. Differences of accuracy are in points. ',
      'The validation interval is optimistic, because the choice was made there; the test questions did not affect it.',
    ),
  ];
}

const WIDTH = 340;
const ROW = 58;
const LEFT = 10;
const RIGHT = 330;

/**
 * Draws an interval for each comparison, each on its own scale, which starts or ends at no
 * difference.
 */
function forest(rows: readonly Row[]): Content {
  const drawable = rows.filter(({ comparison: { low, high, difference } }) =>
    [low, high, difference].every(Number.isFinite),
  );
  if (drawable.length === 0) return undefined;
  const id = 'intervals-figure';
  return element(
    'figure',
    {},
    element(
      'svg',
      { viewBox: `0 0 ${WIDTH} ${drawable.length * ROW}`, role: 'img', 'aria-labelledby': id },
      element('title', { id }, 'Differences with their 95 % intervals; the table has the numbers'),
      drawable.map((row, i) => interval(row, i * ROW)),
    ),
  );
}

function interval({ set, comparison: { metric, difference, low, high } }: Row, top: number): Html[] {
  const [from, to] = [Math.min(0, low), Math.max(0, high)];
  const span = to - from || 1;
  const x = (value: number) => LEFT + 8 + ((value - from) / span) * (RIGHT - LEFT - 16);
  const sign = LESS_IS_BETTER.has(metric) ? -1 : 1;
  const sure = low > 0 || high < 0;
  const style = !sure ? 'unsure' : sign * difference > 0 ? 'better' : 'worse';
  const y = top + 34;
  const word = { better: 'better', worse: 'worse', unsure: 'may be none' }[style];
  const title = `${set} ${nameOfMetric(metric)} ${text(difference, (d) => changeText(metric, d))}${unitOf(metric)}, ${word}`;
  return [
    element('text', { x: LEFT, y: top + 16 }, title),
    element('path', { class: 'grid', d: `M${LEFT} ${y}H${RIGHT}` }),
    element('path', { class: 'zero', d: `M${round(x(0))} ${y - 9}v18` }),
    element('rect', {
      class: style,
      x: round(x(low)),
      y: y - 2,
      width: Math.max(1, round(x(high) - x(low))),
      height: 4,
    }),
    element('circle', { class: style, cx: round(x(difference)), cy: y, r: 5 }),
    element(
      'text',
      {
        class: 'quiet',
        x: x(0) < WIDTH / 2 ? round(x(0)) + 5 : round(x(0)) - 5,
        y: y + 18,
        'text-anchor': x(0) < WIDTH / 2 ? 'start' : 'end',
      },
      'no difference',
    ),
  ];
}

function round(x: number): number {
  return Math.round(x * 10) / 10;
}
