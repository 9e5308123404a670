import { open } from '../checkpoint/open.js';
import type { Session } from '../evaluate/engines/engine.js';
import type { Question } from '../evaluate/questions/question.js';
import { type Edit, nameOf } from '../interventions/edit.js';
import { svd } from '../linalg/svd.js';
import { checkOptions } from '../options.js';
import { normal, uniform } from '../random.js';
import { planGrid } from './candidates.js';
import { costOfRounds, planRounds } from './rounds.js';
import { checkEngine, requireGiven, SEARCH_OPTIONS, type SearchOptions } from './settings.js';

/** What a search would cost. Seconds are measured on a few questions and one small matrix. */
export interface SearchEstimate {
  readonly candidates: number;
  /** The number of matrices that they edit, each of which is decomposed once. */
  readonly matrices: number;
  readonly questions: { readonly validation: number; readonly test: number };
  /**
   * The most validation questions that are asked, with those of the unedited model. Early stopping
   * asks fewer.
   */
  readonly mostAsked: number;
  readonly seconds: {
    /** Of one question, and of loading a candidate into the engine. */
    readonly question: number;
    readonly load: number;
    readonly decompose: number;
    /** Of the whole search, if it asks the most questions. */
    readonly most: number;
  };
}

/** Questions that are timed. */
const SAMPLE = 12;
/** The order of the matrix whose decomposition is timed. */
const ORDER = 256;

/**
 * Estimates what a search would cost, without writing anything: loads the model, asks it a few of
 * the questions, and plans the grid. Quantised tensors are not converted for this.
 *
 * @throws as `search`, except for its output folder
 */
export async function estimateSearch(source: string, options: Omit<SearchOptions, 'out'>): Promise<SearchEstimate> {
  const given = checkOptions({ ...options, out: '' }, SEARCH_OPTIONS, 'estimateSearch');
  requireGiven(given);
  const { validation, test, engine, compose, guided, signal } = given;
  const checkpoint = await open(source);
  try {
    checkEngine(checkpoint, engine);
    const { planned } = planGrid(checkpoint, given);
    const matrices = new Map(planned.flatMap(({ edits }) => edits.map((edit) => [nameOf(edit), edit])));
    const session = await engine.open(source);
    try {
      const { question, load } = await timed(session, validation.questions, given);
      signal?.throwIfAborted();
      const decompose = await secondsOf([...matrices.values()], given.threads);
      const [count, candidates] = [validation.questions.length, planned.length];
      const stages = compose === 'greedy' ? 2 : 1;
      const rounds = planRounds(candidates, count);
      const grid = guided ? costOfRounds(candidates, rounds, 0) : candidates * count;
      const mostAsked = count + grid + (stages - 1) * candidates * count;
      // Rounds load the better half again, and of it the better half.
      const loads = candidates * (guided ? 2 : 1) + (stages - 1) * candidates;
      const tested = test?.questions.length ?? 0;
      return {
        candidates,
        matrices: matrices.size,
        questions: { validation: count, test: tested },
        mostAsked,
        seconds: { question, load, decompose, most: (mostAsked + 2 * tested) * question + loads * load + decompose },
      };
    } finally {
      await session.close();
    }
  } finally {
    await checkpoint.close();
  }
}

/** Times a few questions, and what comes before them: a program's start, or loading weights. */
async function timed(session: Session, questions: readonly Question[], options: Omit<SearchOptions, 'out'>) {
  const { generate, compat, signal } = options;
  const step = Math.max(1, Math.floor(questions.length / SAMPLE));
  const sample = questions.filter((_, i) => i % step === 0).slice(0, SAMPLE);
  const ask = async (some: readonly Question[]) => {
    const begin = performance.now();
    for await (const _ of session.ask(some, { generate, compat, signal, top: 1 }));
    return (performance.now() - begin) / 1000;
  };
  // The first answer of a runtime takes longer than any other.
  const first = await ask(sample.slice(0, 1));
  const question = (await ask(sample)) / sample.length;
  const begin = performance.now();
  await session.reload();
  const reload = (performance.now() - begin) / 1000;
  return { question, load: reload + Math.max(0, first - question) };
}

/** Returns the time of the decompositions, from that of a small one: it grows as m n min(m, n). */
async function secondsOf(edits: readonly Edit[], threads: number | undefined): Promise<number> {
  const next = normal(uniform(0));
  const data = Float32Array.from({ length: ORDER * ORDER }, () => next());
  const begin = performance.now();
  await svd({ data, shape: [ORDER, ORDER] }, { threads });
  const seconds = (performance.now() - begin) / 1000;
  const work = (shape: readonly number[]) =>
    shape.reduce((product, size) => product * size, 1) * Math.min(...shape.slice(-2));
  // Pruning and zeroing decompose nothing.
  const shapes = edits.flatMap(({ rank, shape }) => (rank === undefined ? [] : [shape]));
  return shapes.reduce((sum, shape) => sum + (seconds * work(shape)) / ORDER ** 3, 0);
}
