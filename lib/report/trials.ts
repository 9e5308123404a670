import { nameOfCandidate, type SearchHeader, type Trial, type Verdict } from '../search/log-lines.js';
import { difference } from '../search/score.js';
import { significanceOf } from '../search/significance.js';
import { formatCount, formatSeconds } from '../text/format.js';
import type { Findings } from './findings.js';
import { type Content, element, nameOf, shortened } from './html.js';
import { accuracyRange, change, many, nameOfMetric, number, probability, value } from './numbers.js';
import { note, paragraph } from './page.js';
import { type Column, table } from './table.js';
import { metricsIn, specs } from './words.js';

/** A table with more trials than this is folded. */
const MANY_TRIALS = 60;

const VERDICTS: Readonly<Record<Verdict, string>> = {
  complete: 'all asked',
  hopeless: 'significantly worse',
  behind: 'could not catch up',
  outranked: 'outranked',
  failed: 'not possible',
};

function verdictOf({ verdict, problem }: Trial): Content {
  return [VERDICTS[verdict], problem === undefined ? undefined : `: ${shortened(problem)}`];
}

/** Renders what was tried on top of the best of the grid, and what was accepted. */
export function composition({ trials, header }: Findings): Content {
  const greedy = trials.filter(({ stage }) => stage === 'greedy');
  if (greedy.length === 0) return undefined;
  const accepted = greedy.filter((trial) => trial.accepted);
  const rivals = new Map(trials.map((trial) => [trial.number, trial]));
  const against = (trial: Trial) => {
    const rival = trial.verdict === 'complete' ? rivals.get(trial.rival!) : undefined;
    return rival && difference(trial.score, rival.score);
  };
  const start = greedy[0]!.upon;
  return [
    paragraph(
      'It started with ',
      specs(start),
      ', the best of the grid, and went from late to early layers: ',
      many(accepted.length, 'intervention was', 'interventions were'),
      ` accepted, ${formatCount(greedy.length - accepted.length)} undone.`,
    ),
    table<Trial>(
      'Steps of the composition, in their order',
      [
        { title: 'tried', holds: 'names', cell: ({ candidate }) => nameOf(nameOfCandidate(candidate!)) },
        { title: 'outcome', cell: (trial) => (trial.accepted ? element('strong', {}, 'accepted') : 'undone') },
        ...decisive(greedy, header).flatMap((metric): Column<Trial>[] => [
          {
            title: nameOfMetric(metric),
            holds: 'numbers',
            cell: ({ score }) => [value(metric, score[metric]), accuracyRange(metric, score)],
          },
          { title: 'against before', holds: 'numbers', cell: (trial) => change(metric, against(trial)?.[metric]) },
        ]),
        {
          title: 'p',
          holds: 'numbers',
          cell: (trial) => probability(significanceOf(trial, rivals.get(trial.rival!)!)?.p),
        },
        { title: 'asked', holds: 'numbers', cell: ({ score }) => number(score.questions, formatCount) },
        { title: 'why', holds: 'text', cell: verdictOf },
      ],
      greedy,
    ),
  ];
}

/** Returns the deciding metrics that are known. */
function decisive(trials: readonly Trial[], { settings }: SearchHeader) {
  return metricsIn(trials.map(({ score }) => score)).filter(
    (metric) => metric === settings.objective || metric === 'logLoss',
  );
}

/** Renders every trial of the log. */
export function allTrials({ trials, header, base }: Findings): Content {
  if (trials.length === 0) return paragraph('No trial is in the log yet.');
  const metrics = decisive(trials, header);
  const content = table<Trial>(
    'Trials in their order; changes are relative to the unedited model on the same questions',
    [
      { title: 'no.', holds: 'numbers', cell: ({ number: own }) => own },
      { title: 'stage', cell: ({ stage }) => stage },
      {
        title: 'intervention',
        holds: 'names',
        cell: ({ candidate, upon }) => (candidate === undefined ? 'the unedited model' : specs([...upon, candidate])),
      },
      ...metrics.flatMap((metric): Column<Trial>[] => [
        {
          title: nameOfMetric(metric),
          holds: 'numbers',
          cell: ({ score }) => [value(metric, score[metric]), accuracyRange(metric, score)],
        },
        {
          title: 'change',
          holds: 'numbers',
          cell: ({ stage, change: own }) => (stage === 'base' ? undefined : change(metric, own[metric])),
        },
      ]),
      {
        title: 'p',
        holds: 'numbers',
        cell: (trial) => (trial.stage === 'base' ? undefined : probability(significanceOf(trial, base!)?.p)),
      },
      { title: 'asked', holds: 'numbers', cell: ({ score }) => number(score.questions, formatCount) },
      { title: 'end', holds: 'text', cell: verdictOf },
      { title: 'time', holds: 'numbers', cell: ({ seconds: own }) => number(own.edit + own.evaluate, formatSeconds) },
    ],
    trials,
  );
  const folded =
    trials.length <= MANY_TRIALS
      ? content
      : element('details', {}, element('summary', {}, `All ${formatCount(trials.length)} trials`), content);
  return [
    folded,
    note(
      'Intervals of accuracies are 95 % (Wilson); p is that of a sign test of one trial alone. ',
      'Of many trials, one in twenty has p below 0.05 by chance.',
    ),
  ];
}
