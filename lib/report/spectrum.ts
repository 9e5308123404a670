import { nameOf as nameOfMatrix } from '../interventions/edit.js';
import { kindOf } from '../interventions/kinds/kinds.js';
import { analyseSpectrum } from '../lowrank/spectrum.js';
import { interventionOf } from '../search/candidates.js';
import { type Candidate, type MatrixLine, nameOfCandidate, type TrialMatrix } from '../search/log-lines.js';
import { formatCount, formatShare } from '../text/format.js';
import { type Findings, keyOf } from './findings.js';
import { type Content, element, type Html, nameOf, shortened } from './html.js';
import { many, number, shape, significant } from './numbers.js';
import { note, paragraph } from './page.js';
import { table } from './table.js';

/** An edited matrix, its singular values, and which of them are kept. */
interface MatrixFigure {
  readonly name: string;
  readonly candidate: Candidate;
  readonly matrix: TrialMatrix;
  /** In descending order; for a batch the root mean square over its matrices. */
  readonly values: Float32Array;
  readonly batch: number;
  /**
   * The indexes of the kept components in ascending order; undefined if they were not chosen by
   * component.
   */
  readonly kept: Uint32Array | undefined;
}

const MOST_FIGURES = 24;

/** Renders the singular values of the chosen model's matrices, with the kept part. */
export function spectra({ interventions, matrices, header }: Findings): Content {
  const drawn = interventions.flatMap(({ candidate, trial }) =>
    (trial?.matrices ?? []).flatMap((matrix) => {
      const line = matrices.get(keyOf(matrix));
      return line === undefined ? [] : [drawnOf(candidate, matrix, line, header.settings.seed)];
    }),
  );
  if (drawn.length === 0) return undefined;
  const shown = drawn.slice(0, MOST_FIGURES);
  return [
    paragraph(
      'Singular values, the largest first. Blue ones are kept, grey ones removed. Sizes are on a logarithmic scale, indexes on a square-root scale, so that a few can be seen beside thousands.',
    ),
    element('div', { class: 'figures' }, shown.map(figure)),
    drawn.length > shown.length
      ? note(
          `The figures of ${many(drawn.length - shown.length, 'more matrix', 'more matrices')} are left out; the table has all.`,
        )
      : undefined,
    spectrumTable(drawn),
    note(
      'Effective rank: exp of the entropy of the singular values (Roy and Vetterli 2007). 90 % of energy: the fewest components that keep it. ',
      'Above noise: singular values above the edge of a random matrix’s spectrum (Marchenko and Pastur 1967).',
    ),
    element('details', {}, element('summary', {}, 'Singular values as numbers'), shown.map(valueTable)),
  ];
}

function drawnOf(candidate: Candidate, matrix: TrialMatrix, line: MatrixLine, seed: number): MatrixFigure {
  const full = Math.min(...line.shape.slice(-2));
  const batch = Math.max(1, Math.round(line.singularValues.length / Math.max(1, full)));
  const values = Float32Array.from({ length: Math.min(full, line.singularValues.length) }, (_, i) => {
    if (batch === 1) return line.singularValues[i]!;
    let sum = 0;
    for (let item = 0; item < batch; item++) sum += (line.singularValues[item * full + i] ?? 0) ** 2;
    return Math.sqrt(sum / batch);
  });
  const name = nameOfMatrix(matrix);
  const { amount } = interventionOf(candidate);
  const kept = kindOf(candidate.kind).keeps?.(amount, values.length, { seed, matrix: name });
  return { name, candidate, matrix, values, batch, kept };
}

const WIDTH = 340;
const HEIGHT = 190;
const LEFT = 44;
const RIGHT = 330;
const TOP = 18;
const BOTTOM = 166;
/** The narrowest step in pixels. */
const NARROWEST = 0.5;
/** Singular values smaller than this share of the largest are rounding errors of float32. */
const FLOOR = 2 ** -23;

function figure(drawn: MatrixFigure, i: number): Html {
  const { name, candidate, values, batch, kept } = drawn;
  const id = `spectrum-${i + 1}`;
  const title = `Singular values of ${shortened(name)}`;
  const caption = element(
    'figcaption',
    {},
    nameOf(name),
    ' by ',
    nameOf(nameOfCandidate(candidate)),
    `: ${describeKept(drawn)}`,
    batch > 1 ? `; root mean square over ${formatCount(batch)} matrices` : undefined,
  );
  const positive = values.filter((value) => value > 0);
  if (positive.length === 0) return element('figure', {}, paragraph('All singular values are 0.'), caption);
  const most = positive.reduce((max, value) => Math.max(max, value));
  const least = Math.max(
    positive.reduce((min, value) => Math.min(min, value)),
    most * FLOOR,
  );
  const [low, high] = [least / 1.15, most * 1.15];
  const x = (place: number) => LEFT + Math.sqrt(place / values.length) * (RIGHT - LEFT);
  const y = (value: number) =>
    value <= low ? BOTTOM : BOTTOM - (Math.log(value / low) / Math.log(high / low)) * (BOTTOM - TOP);
  const svg = element(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-labelledby': `${id}-title ${id}-text` },
    element('title', { id: `${id}-title` }, title),
    element(
      'desc',
      { id: `${id}-text` },
      `From ${significant(most)} down to ${significant(values.at(-1)!)}; ${describeKept(drawn)}.`,
    ),
    ticksOf(low, high).map((tick) => [
      element('path', { class: 'grid', d: `M${LEFT} ${round(y(tick))}H${RIGHT}` }),
      label(LEFT - 6, y(tick) + 4, String(tick), 'end'),
    ]),
    element('path', { class: 'dropped', d: area(values, runsOf(complement(kept, values.length)), x, y) }),
    element('path', { class: 'kept', d: area(values, runsOf(kept ?? new Uint32Array()), x, y) }),
    label(LEFT, BOTTOM + 16, '1', 'start'),
    label(RIGHT, BOTTOM + 16, formatCount(values.length), 'end'),
    cut(drawn, x),
  );
  return element('figure', {}, svg, caption);
}

/** Draws the line where a rank reduction cuts. */
function cut({ candidate, kept, values }: MatrixFigure, x: (place: number) => number): Content {
  if (!kindOf(candidate.kind).isBest || kept === undefined || kept.length >= values.length) return undefined;
  const at = x(kept.length);
  const isLeft = at < (LEFT + RIGHT) / 2;
  return [
    element('path', { class: 'cut', d: `M${round(at)} ${TOP - 4}V${BOTTOM}` }),
    label(at + (isLeft ? 5 : -5), TOP + 5, `k = ${formatCount(kept.length)}`, isLeft ? 'start' : 'end'),
  ];
}

function describeKept({ kept, values, candidate }: MatrixFigure): string {
  if (kept === undefined) return kindOf(candidate.kind).keptInWords;
  return `${formatCount(kept.length)} of ${formatCount(values.length)} kept`;
}

function label(x: number, y: number, words: string, anchor: 'start' | 'end'): Html {
  return element('text', { class: 'quiet', x: round(x), y: round(y), 'text-anchor': anchor }, words);
}

/**
 * Draws steps over runs of indexes, closed at the bottom. If indexes are narrower than a pixel,
 * some are skipped.
 */
function area(
  values: Float32Array,
  runs: readonly (readonly [from: number, to: number])[],
  x: (place: number) => number,
  y: (value: number) => number,
): string {
  return runs
    .map(([from, to]) => {
      let path = `M${round(x(from))} ${BOTTOM}`;
      for (let place = from; place < to; ) {
        const begin = place;
        while (place < to && x(place) - x(begin) < NARROWEST) place++;
        path += `V${round(y(values[begin]!))}H${round(x(place))}`;
      }
      return `${path}V${BOTTOM}Z`;
    })
    .join('');
}

function runsOf(places: Uint32Array): [from: number, to: number][] {
  const runs: [number, number][] = [];
  for (const place of places) {
    const last = runs.at(-1);
    if (last?.[1] === place) last[1] = place + 1;
    else runs.push([place, place + 1]);
  }
  return runs;
}

function complement(kept: Uint32Array | undefined, length: number): Uint32Array {
  const isKept = new Set(kept);
  return Uint32Array.from({ length }, (_, i) => i).filter((place) => !isKept.has(place));
}

/**
 * Returns round numbers within a range of a logarithmic scale: 1, 2, 5 of each power of ten, or
 * fewer if there are many.
 */
function ticksOf(low: number, high: number): number[] {
  const powers = Array.from(
    { length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 },
    (_, i) => Math.floor(Math.log10(low)) + i,
  );
  const within = (factors: readonly number[], every = 1) =>
    powers
      .filter((_, i) => i % every === 0)
      .flatMap((power) => factors.map((factor) => Number(`${factor}e${power}`)))
      .filter((tick) => tick >= low && tick <= high);
  for (const ticks of [within([1, 2, 3, 4, 5, 6, 7, 8, 9]), within([1, 2, 5]), within([1])]) {
    if (ticks.length <= 7 && ticks.length >= 2) return ticks;
  }
  const few = within([1], Math.ceil(powers.length / 7));
  return few.length > 0 ? few : [Number(Math.sqrt(low * high).toPrecision(2))];
}

function round(x: number): number {
  return Math.round(x * 10) / 10;
}

function spectrumTable(drawn: readonly MatrixFigure[]): Html {
  const alone = (show: (s: Float32Array, m: number, n: number) => number) => (row: MatrixFigure) => {
    const [m, n] = row.matrix.shape.slice(-2) as [number, number];
    return row.batch > 1 || row.values.length === 0 ? undefined : show(row.values, m, n);
  };
  const analysed = (show: (spectrum: ReturnType<typeof analyseSpectrum>) => number) =>
    alone((s, m, n) => show(analyseSpectrum(s, m, n)));
  return table<MatrixFigure>(
    'Spectra of the matrices of the chosen model',
    [
      { title: 'matrix', holds: 'names', cell: ({ name }) => nameOf(name) },
      { title: 'shape', holds: 'numbers', cell: ({ matrix }) => shape(matrix.shape) },
      { title: 'kept', holds: 'numbers', cell: describeShort },
      { title: 'largest', holds: 'numbers', cell: ({ values }) => number(values[0], significant) },
      {
        title: 'first dropped',
        holds: 'numbers',
        cell: ({ kept, values, candidate }) =>
          kindOf(candidate.kind).isBest ? number(values[kept?.length ?? 0], significant) : undefined,
      },
      { title: 'smallest', holds: 'numbers', cell: ({ values }) => number(values.at(-1), significant) },
      {
        title: 'effective rank',
        holds: 'numbers',
        cell: (row) => number(analysed((s) => s.effectiveRank)(row), (x) => x.toFixed(1)),
      },
      { title: '90 % of energy', holds: 'numbers', cell: analysed((s) => s.energyRank90) },
      { title: 'above noise', holds: 'numbers', cell: analysed((s) => s.marchenkoPasturRank) },
    ],
    drawn,
  );
}

function describeShort({ kept, values }: MatrixFigure): string | undefined {
  return kept === undefined ? undefined : `${formatCount(kept.length)} of ${formatCount(values.length)}`;
}

const MOST_VALUES = 40;

function valueTable({ name, values, kept }: MatrixFigure): Html {
  const isKept = new Set(kept);
  const total = values.reduce((sum, value) => sum + value ** 2, 0);
  let energy = 0;
  const rows = [...values].map((value, place) => {
    energy += value ** 2;
    return { place, value, share: total === 0 ? 0 : energy / total };
  });
  return table(
    `Singular values of ${shortened(name)}${values.length > MOST_VALUES ? ', some of them' : ''}`,
    [
      { title: 'place', holds: 'numbers', cell: ({ place }) => formatCount(place + 1) },
      { title: 'singular value', holds: 'numbers', cell: ({ value }) => number(value, significant) },
      { title: 'energy up to here', holds: 'numbers', cell: ({ share }) => number(share, formatShare) },
      { title: 'kept', cell: ({ place }) => (isKept.has(place) ? 'yes' : 'no') },
    ],
    rows.filter(({ place }) => placesShown(values.length, kept).has(place)),
  );
}

/**
 * Chooses the rows to show: all if there are few; otherwise the first ones, some at growing
 * distances, the last, and those at the cut.
 */
function placesShown(length: number, kept: Uint32Array | undefined): ReadonlySet<number> {
  const all = Array.from({ length }, (_, i) => i);
  if (length <= MOST_VALUES) return new Set(all);
  const spread = Array.from({ length: MOST_VALUES }, (_, i) => Math.round(length ** (i / (MOST_VALUES - 1))) - 1);
  const edge = kept === undefined ? [] : [kept.length - 1, kept.length];
  return new Set([...spread, ...edge].filter((place) => place >= 0 && place < length));
}
