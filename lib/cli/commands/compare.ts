import { type Command, Option } from 'commander';
import { type CompareProgress, compare } from '../../evaluate/compare/compare.js';
import { loadTexts } from '../../evaluate/compare/texts.js';
import { printResult, runJob } from '../job.js';
import { jsonOption, seedOption, threadsOption, wholeNumber, wrongUsage } from '../options.js';
import { addFormatOptions, chooseEngine, contextOption, type FormatFlags, loadSet } from '../questions.js';
import { comparisonLines } from '../terminal/comparison.js';
import { ProgressLine } from '../terminal/progress-line.js';
import type { Terminal } from '../terminal/terminal.js';

interface CompareFlags extends FormatFlags {
  readonly texts?: string;
  readonly dataset?: string;
  readonly samples: number;
  readonly length: number;
  readonly limit?: number;
  readonly generate?: number;
  readonly runs: number;
  readonly threads?: number;
  readonly context?: number;
  readonly seed?: number;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank compare model compressed --texts held-out.txt
  lowrank compare model.onnx small.onnx smaller.onnx --texts held-out.jsonl --samples 256
  lowrank compare model.gguf edited.gguf --texts held-out.txt --dataset questions.jsonl
  lowrank compare model small --texts held-out.txt --json > compared.json && lowrank report compared.json

Texts that were used for calibration flatter a compressed model: hold some back for the comparison.
All models are in memory at once, and their runs are timed in turns.`;

/** `lowrank compare`: compares models with the one that they were made from. */
export function defineCompare(command: Command, terminal: Terminal): void {
  command
    .argument('<original>', 'a .onnx or .gguf file, or a folder; never modified')
    .argument('<candidates...>', 'models made from it, in the same format')
    .option('--texts <file>', 'plain text (documents separated by blank lines, or one a line) or lines of {"text"}')
    .option('--samples <n>', 'use at most n texts', wholeNumber(1), 128)
    .option('--length <n>', 'cut texts to n tokens', wholeNumber(2), 256)
    .addOption(new Option('--dataset <file>', 'file of questions to ask all models'));
  addFormatOptions(command, 'question file')
    .option('--limit <n>', 'ask at most n questions', wholeNumber(1))
    .option('--generate <n>', 'number of tokens to generate and search for the answer', wholeNumber(0))
    .option('--runs <n>', 'time each run n times; 0 times nothing', wholeNumber(0), 9)
    .addOption(threadsOption('number of engine threads'))
    .addOption(contextOption())
    .addOption(seedOption('choose the texts, and seed the intervals'))
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((original: string, candidates: string[], flags: CompareFlags) =>
      runCompare(original, candidates, flags, terminal),
    );
}

async function runCompare(
  original: string,
  candidates: readonly string[],
  flags: CompareFlags,
  terminal: Terminal,
): Promise<void> {
  const { samples, length, limit, runs, seed, json } = flags;
  if (flags.texts === undefined && flags.dataset === undefined) {
    throw wrongUsage('nothing to compare the models on: pass --texts <file>, --dataset <file> or both');
  }
  const engine = await chooseEngine(original, flags);
  const texts = flags.texts === undefined ? undefined : await loadTexts(flags.texts, { samples, seed });
  const { dataset } = flags;
  const set = dataset === undefined ? undefined : await loadSet(dataset, original, flags);
  const job = runJob(terminal, {
    progress: new ProgressLine<CompareProgress>(terminal.err, describeProgress),
    stopped: 'stopped',
    work: (signal, onProgress) =>
      compare(original, candidates, {
        engine,
        texts,
        questions: set?.questions.slice(0, limit),
        generate: flags.generate ?? set?.generate ?? 0,
        length,
        runs,
        seed,
        signal,
        onProgress,
      }),
  });
  const comparison = await job.finally(() => engine.close());
  const document = { ...comparison, textFile: flags.texts, dataset };
  printResult(terminal, { json }, document, () => terminal.out.lines(comparisonLines(comparison, terminal.out)));
}

const STEPS: Readonly<Record<CompareProgress['step'], string>> = {
  texts: 'texts',
  speed: 'timed rounds',
  questions: 'answers',
};

function describeProgress({ step, done, total }: CompareProgress): string {
  return `${done}/${total} ${STEPS[step]}`;
}
