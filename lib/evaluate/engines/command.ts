import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { ArgumentError, describe, LowRankError } from '../../errors.js';
import { checkOptions, either, listOf, type OptionTypes, text, wholeNumber } from '../../options.js';
import type { Compat } from '../metrics/compat.js';
import type { Question } from '../questions/question.js';
import type { ExampleResult, LikelyToken } from '../result.js';
import { ASK_OPTIONS, type AskOptions, type Engine, type Session } from './engine.js';
import { judge, type RawAnswer } from './grade.js';
import { type Ending, Program } from './program.js';

export interface CommandOptions {
  /**
   * The program and its arguments, as a list or as one text that is split at spaces (quotes keep
   * them; no shell is used). `{checkpoint}` and `{questions}` stand for paths.
   */
  readonly command: string | readonly string[];
  /** Passed on as LOWRANK_THREADS and OMP_NUM_THREADS. */
  readonly threads?: number;
}

const COMMAND_OPTIONS: OptionTypes<CommandOptions> = {
  command: either(text, listOf(text)),
  threads: wholeNumber(1),
};

/** How many characters of a program's errors are reported, from the end. */
const TOLD_ERRORS = 2000;

/**
 * Runs any program that evaluates a checkpoint: lm-evaluation-harness, vLLM or a script of your own
 * can serve files that no engine in Node.js reads.
 *
 * The program runs once for a set of questions. `{checkpoint}` is the checkpoint's path,
 * `{questions}` that of a file with one JSON object a line, which has the fields of {@link
 * Question} (also as LOWRANK_CHECKPOINT and LOWRANK_QUESTIONS; and LOWRANK_GENERATE). The program
 * prints JSON on standard output. It may print one object for each question, one a line: `{ "id":
 * 0, ... }` with any of `choiceLogProbs`, `answerLogProb`, `answerTokens`, `generation`, `top` (`[{
 * "text", "logProb" }]`), `rank`, `correct`, `prediction`; missing values are derived from the
 * others if possible. Or it may print one object without `id`, whose numbers are reported
 * unchanged. Or both. Other lines are ignored. It must exit with 0.
 *
 * The program runs in its own process group. An abort, or leaving the answers early, sends SIGTERM
 * to the group, and SIGKILL two seconds later to whatever is left of it. When this process exits,
 * the group is killed.
 */
export function commandEngine(options: CommandOptions): Engine {
  const { command, threads } = checkOptions(options, COMMAND_OPTIONS, 'commandEngine');
  const words = typeof command === 'string' ? splitCommand(command) : command;
  if (words === undefined || words.length === 0) throw new ArgumentError('command', 'a program', command);
  return {
    name: 'command',
    open: async (checkpoint) => new CommandSession(resolve(checkpoint), words, threads),
    close: async () => undefined,
  };
}

class CommandSession implements Session {
  readonly checkpoint: string;
  readonly #words: readonly string[];
  readonly #threads: number | undefined;
  #reported: Readonly<Record<string, number>> | undefined;

  constructor(checkpoint: string, words: readonly string[], threads: number | undefined) {
    this.checkpoint = checkpoint;
    this.#words = words;
    this.#threads = threads;
  }

  get reported(): Readonly<Record<string, number>> | undefined {
    return this.#reported;
  }

  async *ask(questions: readonly Question[], options?: AskOptions): AsyncGenerator<ExampleResult, void, undefined> {
    const given = checkOptions(options, ASK_OPTIONS, 'ask');
    this.#reported = undefined;
    given.signal?.throwIfAborted();
    const folder = await mkdtemp(join(tmpdir(), 'lowrank-questions-'));
    try {
      const file = join(folder, 'questions.jsonl');
      await writeFile(file, questions.map((question) => `${JSON.stringify(question)}\n`).join(''));
      yield* this.#run(file, questions, given);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async *#run(
    file: string,
    questions: readonly Question[],
    { generate = 0, compat, signal }: AskOptions,
  ): AsyncGenerator<ExampleResult, void, undefined> {
    const places: Record<string, string> = { '{checkpoint}': this.checkpoint, '{questions}': file };
    const [program, ...args] = this.#words.map((word) =>
      word.replace(/\{checkpoint\}|\{questions\}/g, (p) => places[p]!),
    );
    const threads =
      this.#threads === undefined ? {} : { LOWRANK_THREADS: `${this.#threads}`, OMP_NUM_THREADS: `${this.#threads}` };
    signal?.throwIfAborted();
    const running = this.#start(program!, args, {
      ...process.env,
      ...threads,
      LOWRANK_CHECKPOINT: this.checkpoint,
      LOWRANK_QUESTIONS: file,
      LOWRANK_GENERATE: String(generate),
    });
    let errors = '';
    running.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-TOLD_ERRORS);
    });
    // Stop it even while nobody asks for the next answer.
    const stop = () => void running.stop();
    signal?.addEventListener('abort', stop);
    const waiting = new Map(questions.map((question) => [question.id, question]));
    try {
      const whole: string[] = [];
      // An abort closes it, since something that the program started may hold its output open.
      const lines = createInterface({ input: running.stdout, crlfDelay: Number.POSITIVE_INFINITY, signal });
      for await (const line of lines) {
        signal?.throwIfAborted();
        const row = parseRow(line);
        if (row === undefined) {
          whole.push(line);
          continue;
        }
        if (row.id === undefined) this.#report(row);
        else yield this.#understand(row, waiting, compat);
      }
      signal?.throwIfAborted();
      // A single object may be printed over several lines.
      const printed = parseRow(whole.join('\n'));
      if (printed !== undefined && printed.id === undefined) this.#report(printed);
      const ending = await running.ended;
      signal?.throwIfAborted();
      const { code, failure } = ending;
      if (failure !== undefined || code !== 0) {
        const why = describeEnding(ending);
        throw this.#failure(`${why}${errors.trim() === '' ? '' : `\n${errors.trim()}`}`, failure);
      }
      if (waiting.size > 0 && (this.#reported === undefined || waiting.size < questions.length)) {
        throw this.#failure(`answered ${questions.length - waiting.size} of ${questions.length} questions`);
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      await running.stop();
    }
  }

  /** The program reads the files itself, each time. */
  async reload(): Promise<void> {}

  async close(): Promise<void> {}

  #start(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Program {
    try {
      return new Program(program, args, env);
    } catch (cause) {
      throw this.#failure(`cannot be started: ${(cause as Error).message}`, cause as Error);
    }
  }

  #report(row: Row): void {
    const numbers = Object.entries(row).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
    this.#reported = { ...this.#reported, ...Object.fromEntries(numbers) };
  }

  #understand(row: Row, waiting: Map<number, Question>, compat: Compat | undefined): ExampleResult {
    const question = waiting.get(row.id as number);
    if (question === undefined) throw this.#failure(`answered an unknown question ${describe(row.id)}, or one twice`);
    waiting.delete(question.id);
    const wrong = (name: string, expected: string): never => {
      throw this.#failure(`question ${question.id}: expected ${name} to be ${expected}, got ${describe(row[name])}`);
    };
    const optional = <T>(name: string, is: (value: unknown) => value is T, expected: string): T | undefined => {
      const value = row[name] ?? undefined;
      return value === undefined || is(value) ? value : wrong(name, expected);
    };
    const choices = question.choices?.length;
    const choiceLogProbs = optional('choiceLogProbs', isNumbers, 'numbers');
    if (choiceLogProbs !== undefined && choiceLogProbs.length !== choices)
      wrong('choiceLogProbs', `${choices ?? 0} numbers`);
    const found: RawAnswer = {
      choiceLogProbs,
      answerLogProb: optional('answerLogProb', isNumber, 'a number'),
      answerTokens: optional('answerTokens', isNumber, 'a number'),
      top: optional('top', isLikely, 'objects of text and logProb'),
      rank: optional('rank', isNumber, 'a number'),
      generation: optional('generation', isText, 'a text'),
      correct: optional('correct', (value) => typeof value === 'boolean', 'true or false'),
      prediction: optional('prediction', isText, 'a text'),
    };
    return judge(question, found, compat);
  }

  #failure(message: string, cause?: Error): LowRankError {
    return new LowRankError('ERR_ENGINE', `${this.#words[0]}: ${message}`, { cause });
  }
}

function describeEnding({ code, signal, failure }: Ending): string {
  return failure?.message ?? (signal === null ? `ended with ${code}` : `was killed by ${signal}`);
}

type Row = Record<string, unknown>;

function parseRow(line: string): Row | undefined {
  if (!line.trimStart().startsWith('{')) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Row) : undefined;
  } catch {
    return undefined;
  }
}

const isNumber = (value: unknown): value is number => typeof value === 'number';
const isText = (value: unknown): value is string => typeof value === 'string';
const isNumbers = (value: unknown): value is number[] => Array.isArray(value) && value.every(isNumber);
const isLikely = (value: unknown): value is LikelyToken[] =>
  Array.isArray(value) && value.every((item) => isText(item?.text) && isNumber(item?.logProb));

/** @internal Splits at spaces, except within single or double quotes, or after a backslash. */
export function splitCommand(command: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let at = 0; at < command.length; at++) {
    const character = command[at]!;
    if (quote === undefined && /\s/.test(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (quote === undefined ? character === '"' || character === "'" : character === quote) {
      quote = quote === undefined ? character : undefined;
      word ??= '';
    } else if (character === '\\' && quote !== "'" && /^["'\\\s]/.test(command.slice(at + 1, at + 2))) {
      word = (word ?? '') + command[++at]!;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (quote !== undefined) throw new ArgumentError('command', `a closing ${quote}`, command);
  if (word !== undefined) words.push(word);
  return words;
}
