import { ArgumentError, LowRankError } from '../../errors.js';
import { requirePath } from '../../files/files.js';
import {
  abortSignal,
  callback,
  checkOptions,
  listOf,
  type OptionType,
  type OptionTypes,
  text,
  wholeNumber,
} from '../../options.js';
import type { Engine, EngineName } from '../engines/engine.js';
import { TokenSession } from '../engines/token-session.js';
import { type Evaluation, Evaluator } from '../evaluator.js';
import { type Comparison, compareResults, type Summary } from '../metrics/summary.js';
import type { Question } from '../questions/question.js';
import { type OutputKind, outputKind, type Quality, qualityOf } from './quality.js';
import { type ModelSize, sizeOfModel } from './size.js';
import { roundsOf, type Speed, shapesOf, speedOf } from './speed.js';
import { tokeniseTexts } from './token-texts.js';

/** The progress of a comparison. */
export interface CompareProgress {
  readonly step: 'texts' | 'speed' | 'questions';
  /** In texts, in rounds of timed runs, or in questions, which count once for each model. */
  readonly done: number;
  readonly total: number;
}

export interface CompareOptions {
  /** Runs all models: `onnxEngine()` or `llamaEngine()`. The caller closes it. */
  readonly engine: Engine;
  /**
   * Texts on which the outputs are compared, such as those of {@link loadTexts}. The texts of a
   * calibration would flatter the candidates.
   */
  readonly texts?: readonly string[];
  /** Questions to ask all models. */
  readonly questions?: readonly Question[];
  /** The number of tokens to generate for a question; as in `AskOptions`. */
  readonly generate?: number;
  /** The maximum number of tokens of a text; longer ones are truncated. 256 by default. */
  readonly length?: number;
  /** The number of times that each run is timed: 9 by default, 0 for no timings. */
  readonly runs?: number;
  /** The seed of the bootstrap intervals; 0 by default. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CompareProgress) => void;
}

const ENGINE: OptionType<Engine> = {
  expected: 'an engine, such as onnxEngine()',
  is: (value): value is Engine => typeof (value as Partial<Engine> | null)?.open === 'function',
};
const QUESTION: OptionType<Question> = {
  expected: 'a question of loadQuestions',
  is: (value): value is Question => typeof (value as Partial<Question> | null)?.prompt === 'string',
};

const COMPARE_OPTIONS: OptionTypes<CompareOptions> = {
  engine: ENGINE,
  texts: listOf(text),
  questions: listOf(QUESTION),
  generate: wholeNumber(0),
  length: wholeNumber(2),
  runs: wholeNumber(0),
  seed: wholeNumber(0),
  signal: abortSignal,
  onProgress: callback,
};

/** A model of a comparison: its size, quality and speed. */
export interface ComparedModel extends ModelSize, Quality, Speed {
  readonly checkpoint: string;
  /** Its metrics on the questions; undefined without questions. */
  readonly summary: Summary | undefined;
  /** The change of its accuracy, by paired bootstrap draws; undefined for the original. */
  readonly accuracyChange: Comparison | undefined;
}

/** The result of {@link compare}. */
export interface ModelComparison {
  readonly engine: EngineName;
  /** The kind of output of the models; undefined without texts. */
  readonly outputs: OutputKind | undefined;
  /** The number of texts, of their tokens, and of questions. */
  readonly texts: number;
  readonly tokens: number;
  readonly questions: number;
  readonly original: ComparedModel;
  readonly candidates: readonly ComparedModel[];
  readonly seconds: number;
}

/**
 * Compares models with the model that they were made from: outputs on texts, answers to questions,
 * size and speed. Timed runs of the models alternate. All models are in memory at once.
 *
 * @param original a file or folder that the engine runs
 * @param candidates at least one
 * @throws {@link LowRankError} `ERR_ARGUMENT` without candidates, or with neither texts nor
 *   questions; `ERR_UNSUPPORTED` if tokenizers or outputs differ, or the engine gives no
 *   probabilities; `ERR_DATASET` if no text has two tokens; `ERR_ENGINE`, `ERR_PEER`;
 *   `ERR_NOT_FINITE`; the signal's reason when aborted.
 */
export async function compare(
  original: string,
  candidates: readonly string[],
  options: CompareOptions,
): Promise<ModelComparison> {
  const started = performance.now();
  const { engine, texts = [], questions = [], ...given } = checkOptions(options, COMPARE_OPTIONS, 'compare');
  const { generate = 0, length = 256, runs = 9, seed = 0, signal, onProgress } = given;
  if ((engine as Engine | undefined) === undefined) throw new ArgumentError('engine', ENGINE.expected, engine);
  requirePath(original);
  if (!Array.isArray(candidates) || candidates.length === 0) {
    throw new ArgumentError('candidates', 'at least one path', candidates);
  }
  for (const candidate of candidates) requirePath(candidate);
  if (texts.length === 0 && questions.length === 0) {
    throw new ArgumentError('texts', 'at least one text, or questions', texts);
  }
  const format = engine.runs;
  if (format === undefined) throw noProbabilities(engine);

  const paths = [original, ...candidates];
  const sessions: TokenSession[] = [];
  const draw = { seed, signal };
  const counter = (step: CompareProgress['step'], total: number) => {
    let done = 0;
    onProgress?.({ step, done, total });
    return (more = 1) => {
      done += more;
      onProgress?.({ step, done, total });
    };
  };
  const evaluateAll = async (): Promise<Evaluation[]> => {
    const count = counter('questions', questions.length * paths.length);
    const evaluator = new Evaluator(engine);
    const evaluations: Evaluation[] = [];
    for (const session of sessions) {
      evaluations.push(await evaluator.evaluate(session, questions, { generate, bootstrap: { seed }, signal }));
      count(questions.length);
    }
    return evaluations;
  };
  try {
    for (const path of paths) {
      signal?.throwIfAborted();
      sessions.push(await openTokens(engine, path));
    }
    const sizes: ModelSize[] = [];
    for (const path of paths) sizes.push(await sizeOfModel(path, format));

    const wanted = texts.length > 0 ? texts : questions.map(({ prompt }) => prompt);
    const { sequences, inner } = await tokeniseTexts(sessions, wanted, length);
    const kind = await outputKind(sessions, sequences[0]!);
    const used = texts.length > 0 ? sequences : [];
    const qualities =
      used.length > 0
        ? await qualityOf(sessions, kind, used, draw, counter('texts', used.length))
        : paths.map(() => ({}));

    const shapes = shapesOf(kind, Math.min(...sessions.map(({ model }) => model.contextLength)));
    const rounds = roundsOf(shapes, runs);
    const onRound = rounds > 0 ? counter('speed', rounds) : () => undefined;
    const speeds = await speedOf(sessions, shapes, inner, runs, draw, onRound);

    const evaluations = questions.length > 0 ? await evaluateAll() : [];

    const models: ComparedModel[] = [];
    for (const [i, checkpoint] of paths.entries()) {
      models.push({
        checkpoint,
        ...sizes[i]!,
        ...qualities[i]!,
        ...speeds[i]!,
        summary: evaluations[i]?.summary,
        accuracyChange: i === 0 ? undefined : await accuracyChange(evaluations[0], evaluations[i], draw),
      });
    }
    return {
      engine: engine.name,
      outputs: used.length > 0 ? kind : undefined,
      texts: used.length,
      tokens: used.reduce((sum, tokens) => sum + tokens.length, 0),
      questions: questions.length,
      original: models[0]!,
      candidates: models.slice(1),
      seconds: (performance.now() - started) / 1000,
    };
  } finally {
    for (const session of sessions) await session.close();
  }
}

async function openTokens(engine: Engine, path: string): Promise<TokenSession> {
  const session = await engine.open(path);
  if (session instanceof TokenSession) return session;
  await session.close();
  throw noProbabilities(engine);
}

function noProbabilities({ name }: Engine): LowRankError {
  return new LowRankError('ERR_UNSUPPORTED', `the engine ${name} does not give the probabilities of all tokens`, {
    hint: 'Use onnxEngine() or llamaEngine().',
  });
}

async function accuracyChange(
  before: Evaluation | undefined,
  after: Evaluation | undefined,
  draw: { readonly seed: number },
): Promise<Comparison | undefined> {
  if (before?.summary.accuracy === undefined || after?.summary.accuracy === undefined) return undefined;
  return compareResults(before.results, after.results, 'accuracy', draw);
}
