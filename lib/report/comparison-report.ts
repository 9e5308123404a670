import { basename } from 'node:path';
import type { ComparedModel, ModelComparison } from '../evaluate/compare/compare.js';
import type { Latency } from '../evaluate/compare/speed.js';
import type { Estimate } from '../evaluate/metrics/summary.js';
import { formatBytes, formatCount, formatSeconds, formatShare } from '../text/format.js';
import { frontFigure, type Point } from './front.js';
import { type Content, element, nameOf, shortened } from './html.js';
import { many, number, significant, small } from './numbers.js';
import { note, page, paragraph } from './page.js';
import { type Column, facts, table } from './table.js';

/** A figure of quality, for the tables and the fronts. */
interface Figure {
  readonly name: string;
  readonly of: (model: ComparedModel) => Estimate | undefined;
  readonly show: (value: number) => string;
  readonly lessIsBetter: boolean;
  /** The value of the original, which is not compared with itself. */
  readonly original?: number;
}

const FIGURES: readonly Figure[] = [
  { name: 'KL', of: (model) => model.divergence, show: small, lessIsBetter: true, original: 0 },
  { name: 'cosine', of: (model) => model.cosine, show: fourDigits, lessIsBetter: false, original: 1 },
  { name: 'top-1 agreement', of: (model) => model.agreement, show: formatShare, lessIsBetter: false, original: 1 },
  {
    name: 'rank correlation',
    of: (model) => model.rankCorrelation,
    show: fourDigits,
    lessIsBetter: false,
    original: 1,
  },
  { name: 'perplexity', of: (model) => model.perplexity, show: significant, lessIsBetter: true },
  { name: 'accuracy', of: (model) => model.summary?.accuracy, show: formatShare, lessIsBetter: false },
];

/** A model, and its number in the figures. */
interface Row {
  readonly index: number;
  readonly model: ComparedModel;
}

/** Renders a comparison of models, the output of `lowrank compare --json`, as one HTML page. */
export function comparisonReport(comparison: ModelComparison): string {
  const { original, candidates, engine, texts, tokens, questions, seconds } = comparison;
  const rows = [original, ...candidates].map((model, index) => ({ index, model }));
  const lead = element(
    'p',
    { class: 'lead' },
    many(candidates.length, 'model', 'models'),
    ' compared with ',
    nameOf(original.checkpoint),
    '.',
  );
  return page(`Comparison: ${shortened(basename(original.checkpoint) || original.checkpoint)}`, lead, [
    { id: 'fronts', title: 'Size, speed and quality', content: fronts(rows) },
    { id: 'quality', title: 'Quality', content: quality(rows) },
    { id: 'costs', title: 'Size and speed', content: costs(rows) },
    {
      id: 'data',
      title: 'Data',
      content: facts('What the models were compared on', [
        ['texts', texts > 0 ? `${many(texts, 'text', 'texts')} of ${many(tokens, 'token', 'tokens')}` : undefined],
        ['questions', questions > 0 ? number(questions, formatCount) : undefined],
        ['engine', engine],
        ['total time', number(seconds, formatSeconds)],
      ]),
    },
  ]);
}

/** Draws the first figure of quality that the candidates have over size and over each latency. */
function fronts(rows: readonly Row[]): Content {
  const figure = FIGURES.find(({ of }) => rows.slice(1).every(({ model }) => finite(of(model)?.value)));
  if (figure === undefined) return undefined;
  const { name, show, lessIsBetter } = figure;
  const points = (cost: (model: ComparedModel) => number | undefined): Point[] | undefined => {
    const all = rows.map(({ model, index }) => ({
      name: shortened(model.checkpoint),
      cost: cost(model) ?? Number.NaN,
      quality: figure.of(model)?.value ?? (index === 0 ? figure.original : undefined) ?? Number.NaN,
    }));
    return all.every((point) => finite(point.cost) && finite(point.quality)) ? all : undefined;
  };
  const draw = (
    id: string,
    cost: string,
    of: (model: ComparedModel) => number | undefined,
    text: (x: number) => string,
  ) => {
    const drawn = points(of);
    if (drawn === undefined) return undefined;
    const axes = {
      id,
      title: `${name} over ${cost}`,
      cost: { name: cost, show: text },
      quality: { name, show, lessIsBetter },
    };
    return frontFigure(drawn, axes);
  };
  const latencies = rows[0]!.model.latency;
  return [
    paragraph(
      'Numbers are those of the tables; 0 is the original. The dashed line joins models that no other one beats.',
    ),
    element(
      'div',
      { class: 'figures' },
      draw('front-size', 'size', ({ bytes }) => bytes, formatBytes),
      latencies.map((latency, i) =>
        draw(
          `front-latency-${i}`,
          titleOf(latency),
          (model) => sameRun(model, latency)?.milliseconds.value,
          milliseconds,
        ),
      ),
    ),
  ];
}

function quality(rows: readonly Row[]): Content {
  const shown = FIGURES.filter(({ of }) => rows.some(({ model }) => of(model) !== undefined));
  if (shown.length === 0) return undefined;
  return [
    table<Row>(
      'Outputs and answers of the models, with 95 % intervals',
      [
        ...names,
        ...shown.map(
          ({ name, of, show }): Column<Row> => ({
            title: name,
            holds: 'numbers',
            cell: ({ model }) => [estimate(of(model), show), name === 'accuracy' ? certainty(model) : undefined],
          }),
        ),
      ],
      rows,
    ),
    note(
      'KL: of the probabilities, in nats, from the original to the model (Kullback and Leibler 1951). Rank correlation: Spearman’s, of the similarities of all pairs of texts. ',
      'Intervals draw whole texts or questions again, and say nothing about other data. ',
      'An accuracy differs significantly from the original’s if the interval of the paired difference leaves out 0.',
    ),
  ];
}

/** Says whether a model's accuracy differs from the original's by more than chance. */
function certainty({ accuracyChange }: ComparedModel): Content {
  if (accuracyChange === undefined) return undefined;
  const { low, high } = accuracyChange;
  return low <= 0 && high >= 0 ? ', not significant' : ', significant';
}

function costs(rows: readonly Row[]): Content {
  return [
    table<Row>(
      'Files and times of the models',
      [
        ...names,
        { title: 'size', holds: 'numbers', cell: ({ model }) => number(model.bytes, formatBytes) },
        { title: 'numbers', holds: 'numbers', cell: ({ model }) => number(model.parameters, formatCount) },
        { title: 'load', holds: 'numbers', cell: ({ model }) => number(model.loadMilliseconds, milliseconds) },
        ...rows[0]!.model.latency.flatMap((latency): Column<Row>[] => [
          {
            title: titleOf(latency),
            holds: 'numbers',
            cell: ({ model }) => number(sameRun(model, latency)?.milliseconds.value, milliseconds),
          },
          {
            title: 'relative',
            holds: 'numbers',
            cell: ({ model }) => estimate(sameRun(model, latency)?.relative, (x) => x.toFixed(2)),
          },
        ]),
      ],
      rows,
    ),
    note('Times are medians of runs in turns; relative ones are divided by the original’s, with 95 % intervals.'),
  ];
}

const names: readonly Column<Row>[] = [
  { title: 'model', holds: 'names', cell: ({ index, model }) => [`${index} `, nameOf(model.checkpoint)] },
];

function estimate(of: Estimate | undefined, show: (value: number) => string): Content {
  if (of === undefined) return undefined;
  // JSON has null in place of infinity.
  const shown = (value: number | null) => number(value ?? Number.POSITIVE_INFINITY, show);
  return [shown(of.value), ' (', shown(of.low), ' to ', shown(of.high), ')'];
}

function titleOf({ kind, batch, length }: Latency): string {
  return kind === 'decode' ? `1 token after ${length}` : `${batch} × ${length} tokens`;
}

function sameRun({ latency }: ComparedModel, { kind, batch, length }: Latency): Latency | undefined {
  return latency.find((other) => other.kind === kind && other.batch === batch && other.length === length);
}

function finite(value: number | undefined): boolean {
  return Number.isFinite(value);
}

function milliseconds(value: number): string {
  return `${value.toPrecision(3)} ms`;
}

function fourDigits(value: number): string {
  return value.toFixed(4);
}
