import { DEFAULT_KIND } from '../interventions/kinds/kinds.js';
import { type Candidate, type Objective, STOPPED, type Trial } from '../search/log-lines.js';
import { significanceOf } from '../search/significance.js';
import type { Findings } from './findings.js';
import { type Content, element, type Html } from './html.js';
import { nameOfMetric, shortChange, shortChangeText, unitOf } from './numbers.js';
import { note, spoken } from './page.js';
import { scrolling } from './table.js';

const STEPS = 5;

/**
 * Renders how the grid changes the criterion: one table for each kind and type, with layers as rows
 * and shares as columns.
 */
export function heatMaps({ header, trials, interventions, base }: Findings): Content {
  const { candidates, objective } = header.settings;
  const grid = new Map(trials.flatMap((trial) => (trial.stage === 'grid' ? [[keyOf(trial.candidate!), trial]] : [])));
  if (grid.size === 0) return undefined;
  const scale = new Scale(
    [...grid.values()].map((trial) => trial.change[objective] ?? 0),
    objective,
  );
  const best = new Set(interventions.map(({ candidate }) => keyOf(candidate)));
  const maps = grouped(candidates, ({ kind, type }) => JSON.stringify([kind, type]));
  const stopped = [...grid.values()].some(isStopped);
  const chance = new Set(
    [...grid].flatMap(([key, trial]) => (base && significanceOf(trial, base)?.isSignificant === false ? [key] : [])),
  );
  return [
    element(
      'p',
      {},
      'The change of ',
      nameOfMetric(objective),
      ' on the validation questions, compared with the unedited model, in ',
      objective === 'accuracy' ? 'points' : 'its own unit',
      '. Layers go down, the share of the rank that is kept goes across.',
    ),
    scale.legend(),
    element(
      'div',
      { class: 'maps' },
      [...maps.values()].map((own) => heatMap(own, grid, scale, { best, chance }, objective)),
    ),
    note(
      'Each candidate was tried alone. A frame marks those that the chosen model combines: together they may have another effect. A dot marks a candidate that was not tried; a cross marks one that could not be written.',
      stopped
        ? ' A dotted line marks candidates that were stopped early: their change is over the questions asked until then, compared with the unedited model on the same questions.'
        : undefined,
      chance.size > 0 ? ' Italics mark changes that may be chance (sign test of the candidate alone, 5 %).' : undefined,
    ),
  ];
}

/** Candidates that are marked, by their keys. */
interface Marks {
  readonly best: ReadonlySet<string>;
  readonly chance: ReadonlySet<string>;
}

function heatMap(
  candidates: readonly Candidate[],
  grid: ReadonlyMap<string, Trial>,
  scale: Scale,
  marks: Marks,
  objective: Objective,
): Html {
  const { kind, type } = candidates[0]!;
  const layers = [...new Set(candidates.map(({ layer }) => layer))].sort((a, b) => b - a);
  const shares = [...new Map(candidates.map((candidate) => [labelOf(candidate), candidate.rho])).entries()]
    .sort(([, a], [, b]) => firstOf(a) - firstOf(b))
    .map(([label]) => label);
  const byPlace = new Map(candidates.map((candidate) => [`${candidate.layer} ${labelOf(candidate)}`, candidate]));
  const title = kind === DEFAULT_KIND ? type : `${type}, ${kind}`;
  const rows = layers.map((layer) => {
    const cells = shares.map((share) => {
      const candidate = byPlace.get(`${layer} ${share}`);
      if (candidate === undefined) return element('td', {});
      return cell(candidate, grid.get(keyOf(candidate)), scale, marks, objective);
    });
    return element('tr', {}, element('th', { scope: 'row' }, spoken('layer '), layer), cells);
  });
  const head = element(
    'tr',
    {},
    element('th', { scope: 'col' }, spoken('layer')),
    shares.map((share) => element('th', { scope: 'col' }, spoken('kept '), share)),
  );
  return scrolling(
    `Heat map: ${title}`,
    element(
      'table',
      { class: 'heat' },
      element('caption', {}, title),
      element('thead', {}, head),
      element('tbody', {}, rows),
    ),
  );
}

function cell(candidate: Candidate, trial: Trial | undefined, scale: Scale, marks: Marks, objective: Objective): Html {
  if (trial === undefined) return element('td', { class: 'quiet' }, '·', spoken(' not tried'));
  if (trial.verdict === 'failed') return element('td', { class: 'quiet' }, '×', spoken(' not possible'));
  const change = trial.change[objective];
  if (change === undefined) return element('td', { class: 'quiet' }, '?', spoken(' not reported'));
  const isBest = marks.best.has(keyOf(candidate));
  const isChance = marks.chance.has(keyOf(candidate));
  const classes = [
    scale.stepOf(change),
    isStopped(trial) ? 'stopped' : '',
    isChance ? 'chance' : '',
    isBest ? 'best' : '',
  ];
  return element(
    'td',
    { class: classes.filter((name) => name !== '').join(' ') || undefined },
    shortChange(objective, change),
    isStopped(trial) ? spoken(`, stopped after ${trial.score.questions} questions`) : undefined,
    isChance ? spoken(', may be chance') : undefined,
    isBest ? spoken(', chosen') : undefined,
  );
}

/**
 * Colours for changes: none for no change, otherwise one of five steps of better or worse. The
 * steps are equal for shares; for perplexity, which has no upper bound, each is four times the one
 * before.
 */
class Scale {
  readonly #objective: Objective;
  /** The upper ends of the steps. */
  readonly #bounds: readonly number[];

  constructor(changes: readonly number[], objective: Objective) {
    this.#objective = objective;
    const most = changes.filter(Number.isFinite).reduce((max, change) => Math.max(max, Math.abs(change)), 0);
    this.#bounds = Array.from({ length: STEPS }, (_, i) =>
      objective === 'accuracy' ? (most * (i + 1)) / STEPS : most / 4 ** (STEPS - 1 - i),
    );
  }

  stepOf(change: number): string {
    if (change === 0 || Number.isNaN(change)) return '';
    const size = Math.abs(change);
    const step = this.#bounds.findIndex((bound) => size <= bound * (1 + 1e-12));
    return `${change > 0 === (this.#objective === 'accuracy') ? 'better' : 'worse'}${step < 0 ? STEPS : step + 1}`;
  }

  legend(): Content {
    const most = this.#bounds.at(-1)!;
    if (most === 0) return undefined;
    const sign = this.#objective === 'accuracy' ? 1 : -1;
    const step = (size: number, side: 'worse' | 'better', i: number) => {
      const change = side === 'better' ? sign * size : -sign * size;
      const until = shortChangeText(this.#objective, change);
      return element('li', { class: `${side}${i + 1}` }, until);
    };
    const worse = this.#bounds.map((size, i) => step(size, 'worse', i)).reverse();
    const better = this.#bounds.map((size, i) => step(size, 'better', i));
    return element(
      'ul',
      { class: 'legend', 'aria-label': `Colours, by the largest change of each step${unitOf(this.#objective)}` },
      element('li', {}, 'worse'),
      worse,
      element('li', {}, '0'),
      better,
      element('li', {}, 'better'),
    );
  }
}

function isStopped({ verdict }: Trial): boolean {
  return STOPPED.has(verdict);
}

function keyOf({ kind, spec }: Candidate): string {
  return `${kind} ${spec}`;
}

function labelOf({ rho }: Candidate): string {
  return typeof rho === 'number' ? String(rho) : rho.join('–');
}

function firstOf(rho: Candidate['rho']): number {
  return typeof rho === 'number' ? rho : rho[0] + rho[1] * 1e-9;
}

function grouped<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const own = groups.get(key(item));
    if (own === undefined) groups.set(key(item), [item]);
    else own.push(item);
  }
  return groups;
}
