import type { Metric } from '../evaluate/metrics/summary.js';
import type { Score } from '../search/log-lines.js';
import { significanceOf } from '../search/significance.js';
import { formatCount } from '../text/format.js';
import type { Findings } from './findings.js';
import { type Content, element, type Html } from './html.js';
import { accuracyRange, change, changeText, many, nameOfMetric, probability, unitOf, value } from './numbers.js';
import { paragraph } from './page.js';
import { type Column, table } from './table.js';
import { metricsIn, specs } from './words.js';

/** Renders the result in a few sentences and figures. */
export function lead(findings: Findings): Content {
  const { header, test, best, base, interventions, trials } = findings;
  const { candidates, objective, questions } = header.settings;
  const names = interventions.map(({ candidate }) => candidate);
  const tried = trials.filter(({ stage }) => stage === 'grid').length;
  const unfinished = `The search is unfinished: ${formatCount(tried)} of ${many(candidates.length, 'candidate', 'candidates')} tried so far. `;
  const sentence =
    base === undefined || best === undefined
      ? [unfinished, 'The unedited model has not been evaluated yet.']
      : test === undefined
        ? [
            unfinished,
            names.length === 0
              ? header.settings.rounds !== undefined && tried === 0
                ? 'No candidate has been asked all questions yet.'
                : 'None is better on validation than the unedited model.'
              : ['Best so far on validation: ', specs(names), '.'],
          ]
        : names.length === 0
          ? 'No intervention is better on validation than the unedited model.'
          : ['Chosen on validation: ', specs(names), '.'];
  const metrics: Metric[] = objective === 'accuracy' ? ['accuracy', 'logLoss'] : ['perplexity', 'logLoss'];
  const [metric] = metrics as [Metric];
  const tested = test?.comparisons.find((comparison) => comparison.metric === metric);
  const pair = (title: string, before: Score | undefined, after: Score | undefined, asked: number | undefined) =>
    before === undefined || asked === undefined
      ? undefined
      : tile(
          `${title}, ${many(asked, 'question', 'questions')}`,
          after === undefined
            ? value(metric, before[metric as 'accuracy'])
            : [value(metric, before[metric as 'accuracy']), ' → ', value(metric, after[metric as 'accuracy'])],
          [nameOfMetric(metric), accuracyRange(metric, after ?? before)],
        );
  const after = names.length > 0 ? best?.score : undefined;
  return [
    element('p', { class: 'lead' }, sentence),
    questions.test?.shared === undefined
      ? undefined
      : paragraph(
          `${formatCount(questions.test.shared)} of the ${many(questions.test.count, 'test question', 'test questions')} are also validation questions: the test score is too optimistic.`,
        ),
    certainty(findings),
    (findings.counts.outranked ?? 0) > 0
      ? paragraph(
          `The search was guided: ${many(findings.counts.outranked!, 'candidate was', 'candidates were')} outranked on a part of the questions. The full grid might have another winner.`,
        )
      : undefined,
    test?.ended === 'budget' ? paragraph('The budget ended the search before all candidates were tried.') : undefined,
    base === undefined
      ? undefined
      : element(
          'dl',
          { class: 'tiles' },
          pair('Test', test?.base, test?.edited, questions.test?.count),
          tested === undefined
            ? undefined
            : tile(
                'Test, difference',
                [change(metric, tested.difference), unitOf(metric)],
                `95 % interval ${changeText(metric, tested.low)} to ${changeText(metric, tested.high)}`,
              ),
          pair('Validation', base.score, after, questions.validation.count),
        ),
  ];
}

/**
 * Says how likely chance alone explains that the best trial beats the unedited model on the
 * questions by which it was chosen.
 */
function certainty({ trials, best, base, interventions }: Findings): Content {
  if (best === undefined || base === undefined || interventions.length === 0) return undefined;
  const tries = trials.length - 1;
  const sure = significanceOf(best, base, tries);
  if (sure === undefined) return undefined;
  return paragraph(
    sure.isSignificant
      ? 'Its gain on validation is significant'
      : 'Its gain on validation is not significant: it may be chance',
    ' (p ',
    sure.p < 0.001 ? '' : '= ',
    probability(sure.p),
    `, sign test for the best of ${many(tries, 'trial', 'trials')}).`,
  );
}

function tile(title: string, main: Content, rest: Content): Html {
  return element('div', {}, element('dt', {}, title), element('dd', { class: 'main' }, main), element('dd', {}, rest));
}

/** A model and its scores. */
interface ScoredModel {
  readonly name: Content;
  readonly test: Score | undefined;
  readonly validation: Score | undefined;
}

/**
 * Renders the scores of the unedited model, of the chosen one, and of its first intervention alone.
 */
export function result({ base, best, test, interventions }: Findings): Content {
  if (base === undefined) return undefined;
  const models: ScoredModel[] = [{ name: 'unedited', validation: base.score, test: test?.base }];
  const [first] = interventions;
  const name = test === undefined ? 'best so far' : 'chosen';
  if (first !== undefined) models.push({ name, validation: best?.score, test: test?.edited });
  if (first !== undefined && interventions.length > 1) {
    models.push({ name: [specs([first.candidate]), ' alone'], validation: first.trial?.score, test: undefined });
  }
  const rows = (['test', 'validation'] as const).flatMap((set) =>
    metricsIn(models.map((model) => model[set])).map((metric) => ({ set, metric })),
  );
  return table<(typeof rows)[number]>(
    'Scores of the models on all questions of each set, with 95 % intervals of accuracies',
    [
      { title: 'score', cell: ({ set, metric }) => `${set} ${nameOfMetric(metric)}` },
      ...models.map(
        (model): Column<(typeof rows)[number]> => ({
          title: model.name,
          holds: 'numbers',
          cell: ({ set, metric }) => [value(metric, model[set]?.[metric]), accuracyRange(metric, model[set])],
        }),
      ),
    ],
    rows,
  );
}
