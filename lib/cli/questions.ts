import { stat } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { modelsIn } from '../checkpoint/folder.js';
import { commandEngine } from '../evaluate/engines/command.js';
import { ENGINES, type Engine, type EngineName } from '../evaluate/engines/engine.js';
import { llamaEngine } from '../evaluate/engines/llama.js';
import { onnxEngine } from '../evaluate/engines/onnx.js';
import { COMPATS } from '../evaluate/metrics/compat.js';
import { applyChatTemplate } from '../evaluate/questions/chat-template.js';
import { loadQuestions } from '../evaluate/questions/load.js';
import {
  DATASET_FORMATS,
  type DatasetFormat,
  PROMPT_STYLES,
  type PromptStyle,
  type QuestionSet,
} from '../evaluate/questions/question.js';
import { wholeNumber, wrongUsage } from './options.js';

/** Flags that say how a file has its questions. */
export interface FormatFlags {
  readonly format?: DatasetFormat;
  readonly style: PromptStyle;
  readonly promptColumn?: string;
  readonly answerColumn?: string;
  readonly choicesColumn?: string | readonly string[];
  readonly choices?: 'targets' | readonly string[];
  readonly template?: string;
  readonly chatTemplate?: boolean;
}

/** Flags of the commands that ask a model questions. */
export interface QuestionFlags extends FormatFlags {
  readonly dataset: string;
  readonly engine?: EngineName;
  readonly command?: string;
  readonly context?: number;
  readonly limit?: number;
  readonly generate?: number;
  readonly compat?: 'laser';
  readonly threads?: number;
}

export function datasetOption(): Option {
  return new Option('--dataset <file>', 'file of questions').makeOptionMandatory();
}

/** Adds the options that say what a dataset is. */
export function addFormatOptions(command: Command, files: string): Command {
  return command
    .addOption(new Option('--format <format>', `format of the ${files}`).choices(DATASET_FORMATS))
    .addOption(
      new Option('--style <style>', 'kind of model that prompts are worded for')
        .choices(PROMPT_STYLES)
        .default('causal'),
    )
    .option('--prompt-column <name>', 'column of the prompt, in a table of any shape')
    .option('--answer-column <name>', 'column of the answer, or of the right choice')
    .option('--choices-column <names>', 'column of a list of choices, or several columns with one each', columns)
    .option('--choices <choices>', 'choices of all questions, such as Yes,No; targets: all answers of the file', words)
    .option('--template <text>', 'wording of the prompt, such as "Q: {question}\\nA:"; \\n is a line break', unescaped)
    .option('--chat-template', 'word prompts as messages of a user, by the chat template of the model');
}

/** Loads the questions of a file, worded for a model. */
export async function loadSet(path: string, checkpoint: string, flags: FormatFlags): Promise<QuestionSet> {
  const { format, style, promptColumn, answerColumn, choicesColumn, choices, template } = flags;
  const set = await loadQuestions(path, {
    format,
    style,
    promptColumn,
    answerColumn,
    choicesColumn,
    choices,
    template,
  });
  if (!flags.chatTemplate) return set;
  return { ...set, questions: await applyChatTemplate(set.questions, checkpoint) };
}

function columns(text: string): string | string[] {
  const names = text.split(',').map((name) => name.trim());
  return names.length === 1 ? names[0]! : names;
}

function words(text: string): 'targets' | string[] {
  return text === 'targets' ? text : text.split(',').map((choice) => choice.trim());
}

/** Reads `\n` and `\t`, which a shell does not. */
function unescaped(text: string): string {
  const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', '\\': '\\' };
  return text.replace(/\\([nt\\])/g, (_, letter: string) => escapes[letter]!);
}

/**
 * Adds the options that say what a dataset is and which engine asks its questions.
 *
 * @param files `question file`, or the plural
 */
export function addAskingOptions(command: Command, files: string): Command {
  return addFormatOptions(command, files)
    .addOption(new Option('--engine <engine>', 'program that runs the model').choices(ENGINES))
    .option(
      '--command <command>',
      'program that answers the questions; {checkpoint} and {questions} are replaced by paths',
    );
}

/** Adds the options that say how answers are scored. */
export function addScoringOptions(command: Command): Command {
  return command
    .option('--generate <n>', 'number of tokens to generate and search for the answer', wholeNumber(0))
    .addOption(new Option('--compat <code>', "compute metrics as LASER's own code does").choices(COMPATS));
}

export function contextOption(): Option {
  return new Option('--context <n>', 'maximum number of tokens per question').argParser(wholeNumber(2));
}

/** Returns the engine that was asked for, or that runs such a file. */
export async function chooseEngine(
  checkpoint: string,
  flags: Pick<QuestionFlags, 'engine' | 'command' | 'threads' | 'context'>,
): Promise<Engine> {
  const { command, threads, context: contextLength } = flags;
  const name = flags.engine ?? (command === undefined ? await engineOf(checkpoint) : 'command');
  if (name === 'command') {
    if (command === undefined)
      throw wrongUsage("--engine command needs --command '<program> {checkpoint} {questions}'");
    if (contextLength !== undefined) throw wrongUsage('--context works only with the engines llama and onnx');
    return commandEngine({ command, threads });
  }
  if (command !== undefined) throw wrongUsage(`--command works only with --engine command, not with ${name}`);
  return name === 'llama' ? llamaEngine({ threads, contextLength }) : onnxEngine({ threads, contextLength });
}

/** Chooses by the checkpoint's file name, or by the names in its folder. */
async function engineOf(checkpoint: string): Promise<EngineName> {
  if (/\.gguf$/i.test(checkpoint)) return 'llama';
  if (/\.onnx$/i.test(checkpoint)) return 'onnx';
  if ((await stat(checkpoint).catch(() => undefined))?.isDirectory()) {
    if ((await modelsIn(checkpoint, 'gguf')).length > 0) return 'llama';
    if ((await modelsIn(checkpoint, 'onnx')).length > 0) return 'onnx';
  }
  throw wrongUsage(
    `${checkpoint}: cannot tell which engine runs it`,
    'llama runs .gguf files, onnx .onnx files; a safetensors folder needs --command with a program that loads it.',
  );
}
