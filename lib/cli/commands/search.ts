import { join, relative, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { LowRankError } from '../../errors.js';
import type { Metric } from '../../evaluate/metrics/summary.js';
import { splitQuestions } from '../../evaluate/questions/split.js';
import { BAND } from '../../interventions/amount.js';
import { asKind, type InterventionKind, KIND_NAMES, kindOf } from '../../interventions/kinds/kinds.js';
import { parseAt } from '../../interventions/spec.js';
import { parseLayers } from '../../model/layers.js';
import { asLayerType } from '../../model/type-named.js';
import type { GroupType, MatrixType } from '../../model/types.js';
import { writeReport } from '../../report/report.js';
import { estimateSearch, type SearchEstimate } from '../../search/estimate.js';
import { COMPOSITIONS, type Composition, nameOfCandidate, type SearchSummary } from '../../search/log-lines.js';
import { search } from '../../search/search.js';
import { significanceOf } from '../../search/significance.js';
import type { WritableType } from '../../tensor/dtype.js';
import { formatCount, formatSeconds } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { byteSize } from '../byte-size.js';
import { Interrupted } from '../interrupt.js';
import { printResult, runJob } from '../job.js';
import {
  CHECKPOINT,
  familyOption,
  jsonOption,
  quantOption,
  requireOut,
  seedOption,
  sharedOption,
  threadsOption,
  wholeNumber,
  wrongUsage,
} from '../options.js';
import {
  addAskingOptions,
  addScoringOptions,
  chooseEngine,
  contextOption,
  datasetOption,
  loadSet,
  type QuestionFlags,
} from '../questions.js';
import { formatLoss, formatScore, nameOfTrial, SearchTable, UNEDITED } from '../terminal/search-progress.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Output, Terminal } from '../terminal/terminal.js';

interface SearchFlags extends QuestionFlags {
  readonly test?: string;
  readonly out?: string;
  readonly dryRun?: boolean;
  readonly layers?: string;
  readonly types?: readonly (MatrixType | GroupType)[];
  readonly rhos?: readonly number[];
  readonly kinds?: readonly InterventionKind[];
  readonly bands?: readonly (readonly [from: number, to: number])[];
  readonly compose: Composition;
  readonly earlyStopping: boolean;
  readonly guided?: boolean;
  readonly budget?: { readonly trials?: number; readonly seconds?: number };
  readonly cache?: number;
  readonly cacheDir?: string;
  readonly family?: string;
  readonly quant?: WritableType;
  readonly shared?: boolean;
  readonly seed: number;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank search model.gguf --dataset fever_paper_dev.jsonl -o fever-search
  lowrank search onnx-model --dataset validation.jsonl --test test.jsonl -o found --compose greedy
  lowrank search model.gguf --dataset questions.jsonl -o found --layers 20-27 --types fc_in,fc_out --rhos 0.01,0.1
  lowrank search model.gguf --dataset questions.jsonl -o ablation --kinds rank-reduction,bottom,random --rhos 0.01,0.1
  lowrank search model.gguf --dataset questions.jsonl --dry-run
  lowrank search model.gguf --dataset questions.jsonl -o found --guided --layers all
  lowrank search model --dataset questions.jsonl -o found --command 'python score.py {checkpoint} {questions}'

One dataset is split as in LASER: the first fifth selects (validation), the rest is asked once at the end (test).
With --test, the whole dataset is validation.
To resume a stopped search, run the same command again.
Layers: 26, 20-27, 0,2,5-7, last, -4.. or all; default: the later ones. Bands: 0-0.2,0.5-1.`;

/** `lowrank search`: finds the most helpful intervention. */
export function defineSearch(command: Command, terminal: Terminal): void {
  command
    .argument('<checkpoint>', CHECKPOINT)
    .addOption(datasetOption())
    .option('-o, --out <folder>', 'folder for trials.jsonl, summary.json and the model')
    .option('--test <file>', 'separate test questions; the dataset is then all validation');
  addAskingOptions(command, 'question files')
    .addOption(contextOption())
    .option('--layers <layers>', 'layers to try')
    .option('--types <types>', 'matrix types to try, comma-separated', list(typeOf))
    .option('--rhos <shares>', 'shares of the rank to keep, comma-separated', list(share))
    .option('--kinds <kinds>', `kinds of edit, comma-separated: ${KIND_NAMES.join(', ')}`, list(kindNamed))
    .option('--bands <bands>', 'bands for the kind band, comma-separated', list(band))
    .addOption(
      new Option('--compose <how>', 'greedy: combine edits that do not hurt, from late to early layers')
        .choices(COMPOSITIONS)
        .default('none'),
    )
    .option(
      '--guided',
      'ask at most a third of the questions, in rounds that keep the best; may miss the winner of the full grid',
    )
    .option('--no-early-stopping', 'ask every candidate all questions')
    .option('--budget <budget>', 'maximum number of trials (50) or time (90s, 10m, 2h)', budget)
    .option('--cache <size>', 'size of the disk cache for decompositions, such as 2GB; 0 for none', sizeOrNone)
    .option('--cache-dir <folder>', 'folder of that cache; default: in the cache folder of the user')
    .addOption(familyOption())
    .addOption(quantOption('type to which quantised tensors of the grid are converted first'))
    .addOption(sharedOption())
    .option('--dry-run', 'time a few questions and print what the search would cost, without writing anything')
    .option('--limit <n>', 'use at most n validation and n test questions', wholeNumber(1));
  addScoringOptions(command)
    .addOption(seedOption('seed for question orders, random choices and intervals').default(0))
    .addOption(threadsOption('number of threads for linear algebra and the engine'))
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: SearchFlags) => runSearch(checkpoint, flags, terminal));
}

async function runSearch(checkpoint: string, flags: SearchFlags, terminal: Terminal): Promise<void> {
  const { context, limit, compat, compose, seed, family, threads, types, rhos, kinds, bands } = flags;
  if (bands !== undefined && !kinds?.some((kind) => kindOf(kind).amount === BAND))
    throw wrongUsage('--bands requires --kinds band');
  const layers = flags.layers === undefined ? undefined : parseLayers(flags.layers, '--layers');
  const load = (path: string) => loadSet(path, checkpoint, flags);
  const set = await load(flags.dataset);
  const other = flags.test === undefined ? undefined : await load(flags.test);
  const part = (split: 'validation' | 'test') => {
    const from = split === 'test' && other !== undefined ? other : set;
    const questions = other === undefined ? splitQuestions(from.questions, split) : from.questions;
    if (questions.length === 0) throw wrongUsage(`the ${split} part of ${from.path} has no questions`);
    return { questions: questions.slice(0, limit), path: from.path };
  };
  const questions = { validation: part('validation'), test: part('test') };
  const engine = await chooseEngine(checkpoint, flags);
  const options = {
    ...questions,
    engine,
    layers,
    types,
    rhos,
    kinds,
    bands,
    compose,
    seed,
    family,
    threads,
    compat,
    quant: flags.quant,
    shared: flags.shared,
    engineOptions: { command: flags.command, context },
    // Unless switched off, the engine decides.
    earlyStopping: flags.earlyStopping ? undefined : false,
    guided: flags.guided,
    budget: flags.budget,
    cache: { bytes: flags.cache, folder: flags.cacheDir },
    generate: flags.generate ?? set.generate,
    command: ['lowrank', ...process.argv.slice(2)],
  };
  if (flags.dryRun) {
    const estimate = await estimateSearch(checkpoint, options).finally(() => engine.close());
    printResult(terminal, flags, estimate, () => terminal.out.lines(estimateLines(estimate, flags)));
    return;
  }
  const out = requireOut(flags.out, ', or --dry-run');
  const job = runJob(terminal, {
    progress: new SearchTable(terminal.err),
    stopping: 'stopping and removing the candidate',
    stopped: 'stopped',
    interrupted: new Interrupted('interrupted', 'Run the same command again to resume.'),
    work: (signal, onProgress) => search(checkpoint, { ...options, out, signal, onProgress }),
  });
  const summary = await job.finally(() => engine.close());
  await writeReport(out);
  printResult(terminal, flags, summary, () => printSummary(summary, out, terminal.out));
}

/** Formats a duration that may be short: `1.6 ms`. */
function brief(seconds: number): string {
  return seconds < 1 ? `${(1000 * seconds).toPrecision(2)} ms` : formatSeconds(seconds);
}

/** Describes what a search would cost. */
function estimateLines({ candidates, matrices, questions, mostAsked, seconds }: SearchEstimate, flags: SearchFlags) {
  const { validation, test } = questions;
  const stopping = flags.guided ? '' : '; early stopping asks fewer';
  return [
    `${formatCount(candidates)} candidates of ${formatCount(matrices)} matrices, ${formatCount(validation)} validation and ${formatCount(test)} test questions`,
    `a question takes ${brief(seconds.question)}, loading a candidate ${brief(seconds.load)}, all decompositions about ${formatSeconds(seconds.decompose)}`,
    `at most ${formatCount(mostAsked)} validation questions and about ${formatSeconds(seconds.most)}${stopping}`,
  ];
}

const COLUMNS: readonly Column[] = [
  { title: '' },
  { title: 'validation', align: 'right' },
  { title: 'log loss', align: 'right' },
  { title: 'test', align: 'right' },
  { title: 'log loss', align: 'right' },
];

function printSummary(summary: SearchSummary, out: string, output: Output): void {
  const { bold, green } = output.colors;
  const { baseTrial, winnerTrial, gridTrial, base, edited, interventions, counts, seconds, model, greedy } = summary;
  const row = (name: string, validation: (typeof baseTrial)['score'], test: typeof base) => [
    name,
    formatScore(validation),
    formatLoss(validation),
    test === undefined ? '' : formatScore(test),
    test === undefined ? '' : formatLoss(test),
  ];
  const rows = [row(UNEDITED, baseTrial.score, base)];
  const composed = interventions.length > 1;
  if (composed) rows.push(row(`${nameOfTrial(gridTrial)} alone`, gridTrial.score, undefined));
  if (interventions.length > 0) {
    rows.push(row(interventions.map(nameOfCandidate).join(' + '), winnerTrial.score, edited));
  }
  output.lines(formatTable(COLUMNS, rows, output.columns, bold));
  if (interventions.length === 0) output.lines(['no edit beats the unedited model on validation']);
  else output.lines(describeChoice(summary));
  output.lines(summary.comparisons.map((one) => `test ${describeDifference(one)}`));
  if (greedy.length > 0) {
    const accepted = greedy.filter((step) => step.accepted).length;
    output.lines([
      `greedy composition: ${accepted} accepted on top of the best single edit, ${greedy.length - accepted} reverted`,
    ]);
  }
  const { svds } = counts;
  output.lines([
    `${formatCount(counts.trials)} candidates, ${formatCount(counts.stopped)} stopped early, ${formatCount(counts.asked)} validation questions asked`,
    `${svds.computed} decompositions computed, ${svds.disk} from disk, ${svds.memory} from memory`,
    `${formatSeconds(seconds.total)}: evaluation ${formatSeconds(seconds.evaluate)}, decompositions ${formatSeconds(seconds.svd)}, editing ${formatSeconds(seconds.edit)}, test ${formatSeconds(seconds.test)}`,
  ]);
  const { test } = summary.settings.questions;
  if (test?.shared !== undefined) {
    const of = `${formatCount(test.shared)} of the ${formatCount(test.count)}`;
    output.lines([`${of} test questions are validation questions too: the test scores are too optimistic`]);
  }
  if (summary.settings.rounds !== undefined) {
    const outranked = counts.outranked ?? 0;
    if (outranked > 0) {
      output.lines([
        `${formatCount(outranked)} candidates were outranked in rounds: the full grid might have another winner`,
      ]);
    }
  }
  if (summary.ended === 'budget') output.lines(['stopped by the budget before all candidates were tried']);
  // Keep the path as typed, relative or absolute.
  const shown = model && join(out, relative(resolve(out), model));
  if (shown !== undefined) output.lines([`${green('wrote')} ${printable(shown)}`]);
  output.lines([`${green('wrote')} ${printable(out)}/report.html, summary.json and trials.jsonl`]);
}

function describeDifference({ metric, difference, low, high }: SearchSummary['comparisons'][number]): string {
  const shares: readonly Metric[] = ['accuracy'];
  const signed = (value: number) => {
    const text = shares.includes(metric) ? (100 * value).toFixed(2) : value.toFixed(4);
    return value < 0 ? text : `+${text}`;
  };
  const unit = shares.includes(metric) ? ' points' : '';
  const chance = low <= 0 && high >= 0 ? ': not significant' : '';
  return `${metric} ${signed(difference)}${unit}, 95 % interval ${signed(low)} to ${signed(high)}${chance}`;
}

/** Says how likely chance alone explains the gain on the questions that chose the winner. */
function describeChoice({ baseTrial, winnerTrial, counts }: SearchSummary): string[] {
  const sure = significanceOf(winnerTrial, baseTrial, counts.trials);
  if (sure === undefined) return [];
  const p = sure.p < 0.001 ? 'p < 0.001' : `p = ${sure.p.toPrecision(2)}`;
  const tries = `sign test for the best of ${formatCount(counts.trials)}`;
  return [`validation gain ${sure.isSignificant ? 'significant' : 'not significant'} (${p}, ${tries})`];
}

function list<T>(read: (text: string) => T): (text: string) => T[] {
  return (text) => text.split(',').map((item) => read(item.trim()));
}

function typeOf(text: string): MatrixType | GroupType {
  const type = usage(() => asLayerType(text));
  if (type === 'dont') throw new InvalidArgumentError('The unedited model always competes.');
  return type;
}

function kindNamed(text: string): InterventionKind {
  return usage(() => asKind(text));
}

function share(text: string): number {
  const value = text === '' ? Number.NaN : Number(text);
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('Expected shares from 0 to 1.');
}

function band(text: string): readonly [number, number] {
  const { amount } = usage(() => parseAt(`0:all:${text}`, 'band'));
  if ('band' in amount) return amount.band;
  throw new InvalidArgumentError('Expected bands such as 0.2-0.5.');
}

/** Reports an invalid value under the name of its option. */
function usage<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof LowRankError ? new InvalidArgumentError(error.message) : error;
  }
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

function budget(text: string): { trials: number } | { seconds: number } {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(s|m|h)?$/.exec(text) ?? [];
  const value = Number(amount);
  if (unit !== undefined && value > 0) return { seconds: value * UNITS[unit]! };
  if (unit === undefined && Number.isSafeInteger(value) && value > 0) return { trials: value };
  throw new InvalidArgumentError('Expected a number of trials (50), or a time (90s, 10m, 2h).');
}

function sizeOrNone(text: string): number {
  return text === '0' ? 0 : byteSize(text);
}
