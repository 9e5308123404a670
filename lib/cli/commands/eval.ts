import { stat } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { findWeights } from '../../checkpoint/folder.js';
import type { Engine } from '../../evaluate/engines/engine.js';
import { type EvaluateProgress, type Evaluation, Evaluator } from '../../evaluate/evaluator.js';
import { METRICS, type Metric } from '../../evaluate/metrics/summary.js';
import type { QuestionSet } from '../../evaluate/questions/question.js';
import { SPLITS, type Split, splitQuestions } from '../../evaluate/questions/split.js';
import { writeAtomically } from '../../files/atomic.js';
import { refuseExisting } from '../../files/files.js';
import { formatCount, formatSeconds, formatShare } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { printResult, runJob } from '../job.js';
import { jsonOption, seedOption, threadsOption, wholeNumber, wrongUsage } from '../options.js';
import {
  addAskingOptions,
  addScoringOptions,
  chooseEngine,
  contextOption,
  datasetOption,
  loadSet,
  type QuestionFlags,
} from '../questions.js';
import { previewLines, previewQuestions } from '../terminal/preview.js';
import { ProgressLine } from '../terminal/progress-line.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Output, Terminal } from '../terminal/terminal.js';

interface EvalFlags extends QuestionFlags {
  readonly split: Split;
  readonly seed?: number;
  readonly out?: string;
  readonly show?: number;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank eval model.gguf --dataset validation.jsonl
  lowrank eval model.gguf --dataset fever_paper_dev.jsonl --split validation --limit 200
  lowrank eval onnx-model --dataset TruthfulQA.csv --out results.jsonl
  lowrank eval model --dataset questions.jsonl --command 'python score.py {checkpoint} {questions}'
  lowrank eval model.gguf --dataset web_of_lies.json --show 2
  lowrank eval model.gguf --dataset own.csv --prompt-column question --answer-column label --choices no,yes
  lowrank eval chat.gguf --dataset own.csv --template '{question}\\nAnswer:' --answer-column answer --chat-template

Questions may be lines or arrays of JSON, CSV, TSV, Parquet (with hyparquet installed) or plain text.
The format of a dataset is detected from its content, except for biographies: pass --format, or name the columns.
The engine follows the file: llama for .gguf, onnx for .onnx and folders that hold one, command with --command.`;

/** `lowrank eval`: evaluates a checkpoint on a question set. */
export function defineEval(command: Command, terminal: Terminal): void {
  command.argument('<checkpoint>', 'a .gguf or .onnx file, or a folder; never modified').addOption(datasetOption());
  addAskingOptions(command, 'question file')
    .addOption(
      new Option('--split <split>', 'part to use: validation is the first fifth, test the rest')
        .choices(SPLITS)
        .default('all'),
    )
    .addOption(seedOption('shuffle before splitting, and seed the intervals'))
    .option('--limit <n>', 'ask at most n questions', wholeNumber(1));
  addScoringOptions(command)
    .addOption(threadsOption('number of engine threads'))
    .addOption(contextOption())
    .option(
      '--show <n>',
      'print the first n questions as the model gets them, and what is scored, without asking',
      wholeNumber(1),
    )
    .option('--out <file>', 'write results to a new file, one JSON object per line')
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: EvalFlags) => runEval(checkpoint, flags, terminal));
}

async function runEval(checkpoint: string, flags: EvalFlags, terminal: Terminal): Promise<void> {
  if (flags.out !== undefined) await refuseExisting(flags.out);
  const engine = await chooseEngine(checkpoint, flags);
  const edited = flags.engine === undefined ? await otherWeights(checkpoint, engine) : undefined;
  if (edited !== undefined) {
    const asked = `evaluating the .${engine.runs} model in ${checkpoint}; lowrank laser would edit ${edited} instead`;
    terminal.err.lines([`warning: ${printable(asked)}`]);
  }
  const evaluator = new Evaluator(engine);
  const set = await loadSet(flags.dataset, checkpoint, flags);
  const questions = splitQuestions(set.questions, flags.split, { seed: flags.seed });
  if (questions.length === 0) throw wrongUsage(`the ${flags.split} part of ${flags.dataset} has no questions`);
  if (flags.show !== undefined) {
    const shown = questions.slice(0, flags.show);
    const generate = flags.generate ?? set.generate ?? 0;
    const previews = previewQuestions(engine, checkpoint, shown, generate).finally(() => engine.close());
    const document = await previews;
    printResult(terminal, flags, document, () => terminal.out.lines(document.flatMap(previewLines)));
    return;
  }
  const job = runJob(terminal, {
    progress: new ProgressLine<EvaluateProgress>(terminal.err, describeProgress),
    stopped: 'stopped',
    work: (signal, onProgress) =>
      evaluator.evaluate(checkpoint, questions, {
        limit: flags.limit,
        generate: flags.generate ?? set.generate ?? 0,
        compat: flags.compat,
        bootstrap: { seed: flags.seed ?? 0 },
        signal,
        onProgress,
      }),
  });
  const evaluation = await job.finally(() => evaluator.close());
  if (flags.out !== undefined) await writeResults(flags.out, evaluation);
  const report = describeEvaluation(evaluation, set, flags);
  printResult(terminal, flags, report, () => printReport(evaluation, report, terminal.out));
}

/**
 * Finds the weight file that `lowrank laser` would edit in a folder, if the engine runs another
 * one.
 */
async function otherWeights(folder: string, { runs }: Engine): Promise<string | undefined> {
  if (runs === undefined || !(await stat(folder).catch(() => undefined))?.isDirectory()) return undefined;
  const { files } = await findWeights(folder).catch(() => ({ files: [] }));
  return files.find((file) => !file.endsWith(`.${runs}`));
}

function writeResults(out: string, { results }: Evaluation): Promise<void> {
  return writeAtomically(out, results.map((result) => `${JSON.stringify(result)}\n`).join(''));
}

/** Builds the `--json` document, without the single results, which `--out` writes. */
function describeEvaluation(evaluation: Evaluation, set: QuestionSet, flags: EvalFlags) {
  const { checkpoint, engine, summary, laser, reported, compat, results, seconds } = evaluation;
  const { split, seed, limit } = flags;
  const dataset = { path: set.path, format: set.format, questions: set.questions.length };
  return {
    checkpoint,
    engine,
    dataset,
    split,
    seed,
    limit,
    compat,
    answered: results.length,
    summary,
    laser,
    reported,
    seconds,
    out: flags.out,
  };
}

type Report = ReturnType<typeof describeEvaluation>;

const COLUMNS: readonly Column[] = [
  { title: 'metric' },
  { title: 'value', align: 'right' },
  { title: '95 % interval', align: 'right' },
  { title: 'examples', align: 'right' },
];

/** Metrics printed in percent. */
const SHARES: ReadonlySet<Metric> = new Set(['accuracy', 'top1', 'top5', 'top10', 'f1', 'exactMatch']);

function printReport({ summary, engine }: Evaluation, report: Report, output: Output): void {
  const { bold, green } = output.colors;
  const rows = METRICS.flatMap((metric) => {
    const estimate = summary[metric];
    if (estimate === undefined) return [];
    const show = (value: number) => (SHARES.has(metric) ? formatShare(value) : value.toPrecision(5));
    const between = `${show(estimate.low)} to ${show(estimate.high)}`;
    return [[metric, show(estimate.value), between, formatCount(estimate.examples)]];
  });
  if (rows.length > 0) output.lines(formatTable(COLUMNS, rows, output.columns, bold));
  const others = Object.entries({ ...report.laser, ...report.reported });
  output.lines(others.map(([name, value]) => `${printable(name)}: ${value}`));
  const { answered, dataset, split, seconds } = report;
  const questions = `${formatCount(answered)} of ${formatCount(dataset.questions)} questions`;
  output.lines([`${questions} (${split}) of ${printable(dataset.path)} by ${engine} in ${formatSeconds(seconds)}`]);
  if (report.out !== undefined) output.lines([`${green('wrote')} ${printable(report.out)}`]);
}

function describeProgress(progress: EvaluateProgress): string {
  const { done, total, accuracy, accuracyInterval, tokens, seconds, remainingSeconds } = progress;
  const between =
    accuracyInterval && ` (${formatShare(accuracyInterval.low)} to ${formatShare(accuracyInterval.high)})`;
  const right = accuracy === undefined ? '' : `, ${formatShare(accuracy)} correct${between}`;
  const generated = tokens?.generated ? `, ${formatCount(tokens.generated)} generated` : '';
  const run =
    tokens === undefined ? '' : `, ${formatCount(tokens.done)}/${formatCount(tokens.total)} tokens${generated}`;
  const left = remainingSeconds === undefined || done === total ? '' : `, ${formatSeconds(remainingSeconds)} left`;
  return `${done}/${total} questions${right}${run}, ${formatSeconds(seconds)}${left}`;
}
