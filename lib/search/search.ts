import { rm } from 'node:fs/promises';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { mainOfCopy, pathOfCopy } from '../checkpoint/copy/layouts.js';
import { workFolder } from '../checkpoint/copy/staging.js';
import { open } from '../checkpoint/open.js';
import { editCheckpoint } from '../edit/edit-checkpoint.js';
import { LowRankError } from '../errors.js';
import { requireSpace } from '../files/space.js';
import type { Edit } from '../interventions/edit.js';
import { checkOptions } from '../options.js';
import { overlap } from '../tensor/slice.js';
import { interventionOf, type PlannedCandidate, planGrid } from './candidates.js';
import { convertQuantised } from './convert.js';
import { searchDemand } from './demand.js';
import { tryInRounds } from './guided.js';
import type { Candidate, Objective, SearchHeader, SearchSummary, TestLine, Trial } from './log-lines.js';
import { SearchOutput } from './output.js';
import { ProgressReporter } from './progress.js';
import { type Answers, compareScores } from './score.js';
import { checkEngine, headerOf, requireGiven, SEARCH_OPTIONS, type SearchOptions } from './settings.js';
import { countsOf, summarise } from './summary.js';
import { testLine } from './test-line.js';
import { checkLimits, Trials } from './trial-runner.js';

/**
 * Finds the intervention that helps a model most: tries the candidates of a grid on validation
 * questions, on request composes the best one with others, asks the test questions once, and writes
 * the winner as a checkpoint.
 *
 * The criterion is validation accuracy, then log loss (Sharma, Ash and Misra 2023); for texts,
 * perplexity. The unedited model competes: if no candidate is better it wins, and no model is
 * written. The test questions do not affect the choice.
 *
 * The source is never modified. Candidates are made in a working copy inside the output folder,
 * which is removed at the end, also if the search is aborted or fails. Trials are logged in
 * `trials.jsonl`; the same call resumes an aborted or killed search, and gives the same result.
 *
 * @param source a folder or a file
 * @throws {@link CheckpointError} `ERR_OUTPUT` if the output folder contains something else; {@link
 *   ArgumentError}; {@link LowRankError} `ERR_ARGUMENT` for an engine that does not run the
 *   checkpoint's format, `ERR_PEER`, `ERR_ENGINE`, `ERR_NOT_FOUND` for a layer or type that the
 *   model lacks, `ERR_UNSUPPORTED` for an unknown family or stored type; the signal's reason when
 *   aborted.
 */
export async function search(source: string, options: SearchOptions): Promise<SearchSummary> {
  const given = checkOptions(options, SEARCH_OPTIONS, 'search');
  requireGiven(given);
  given.signal?.throwIfAborted();
  checkLimits(given);
  const checkpoint = await open(source);
  try {
    checkEngine(checkpoint, given.engine);
    const { family, planned } = planGrid(checkpoint, given);
    const header = await headerOf(source, checkpoint, family, planned, given);
    const output = await SearchOutput.open(given.out, header, checkpoint);
    try {
      return await searchInto(output, checkpoint, planned, header, given);
    } finally {
      await output.close();
    }
  } finally {
    await checkpoint.close();
  }
}

async function searchInto(
  output: SearchOutput,
  checkpoint: Checkpoint,
  planned: readonly PlannedCandidate[],
  header: SearchHeader,
  options: SearchOptions,
): Promise<SearchSummary> {
  const model = await output.model(checkpoint);
  const written = await pathOfCopy(checkpoint, model);
  const last = output.earlier.at(-1);
  const finish = async (test: TestLine, lines = output.earlier) => {
    const summary = summarise(header, lines, test, test.interventions.length > 0 ? written : undefined);
    await output.writeJson('summary.json', summary);
    return summary;
  };
  // Left by a killed run.
  const temporary = [output.candidate, output.converted, workFolder(model)];
  for (const folder of temporary) await rm(folder, { recursive: true, force: true });
  if (last?.line === 'test') return finish(last);

  await requireSpace(model, await searchDemand(checkpoint, planned, output.folder));
  let converted: Checkpoint | undefined;
  let trials: Trials | undefined;
  try {
    converted = await convertQuantised(checkpoint, planned, output.converted, options.signal);
    const source = converted ?? checkpoint;
    const grid = converted === undefined ? planned : planGrid(source, options).planned;
    const tensors = new Set(grid.flatMap(({ edits }) => edits.map(({ tensor }) => tensor)));
    const progress = new ProgressReporter(options.onProgress, {
      questions: options.validation.questions.length,
      testQuestions: options.test?.questions.length ?? 0,
    });
    trials = await Trials.open(source, tensors, output, options, header.settings, progress);
    const test = await new Search(trials, grid, header, options, progress, checkpoint, model).run();
    return await finish(test, trials.lines);
  } finally {
    await trials?.close();
    await converted?.close();
    for (const folder of temporary) await rm(folder, { recursive: true, force: true });
  }
}

/** The state so far: the interventions in the model, and the trial that evaluated them. */
interface SearchState {
  readonly trial: Trial;
  readonly candidates: readonly Candidate[];
  readonly edits: readonly Edit[];
}

/** The result of a stage, and whether it could try all candidates. */
interface StageResult {
  readonly state: SearchState;
  readonly complete: boolean;
}

class Search {
  readonly #objective: Objective;

  constructor(
    private readonly trials: Trials,
    private readonly planned: readonly PlannedCandidate[],
    private readonly header: SearchHeader,
    private readonly options: SearchOptions,
    private readonly progress: ProgressReporter,
    /** The given checkpoint, before conversion. */
    private readonly checkpoint: Checkpoint,
    /** The path of the winner. */
    private readonly model: string,
  ) {
    this.#objective = header.settings.objective;
  }

  async run(): Promise<TestLine> {
    const { count } = this.header.settings.questions.validation;
    this.progress.report({ phase: 'base', done: 0, total: 1, questions: count });
    const base = await this.trials.try(0, { stage: 'base' });
    this.progress.report({ base: base.score });
    const grid = await this.#searchGrid(base);
    const composed = await this.#compose(base, grid.state);
    return this.#test(base, composed.state, grid.complete && composed.complete ? 'all tried' : 'budget');
  }

  /** Tries one candidate after another; each is compared with the best so far. */
  async #searchGrid(base: Trial): Promise<StageResult> {
    let state: SearchState = { trial: base, candidates: [], edits: [] };
    const { rounds } = this.header.settings;
    if (rounds !== undefined) {
      requireAnswers(base);
      const { progress } = this;
      const error = this.header.settings.earlyStopping?.error;
      const settings = { objective: this.#objective, rounds, error, progress };
      const asked = await tryInRounds(this.trials, this.planned, base, settings);
      for (const [i, trial] of asked.entries()) {
        const { candidate, edits } = this.planned[i]!;
        if (this.#isBetter(trial, state.trial)) state = { trial, candidates: [candidate], edits };
      }
      return { state, complete: true };
    }
    const total = this.planned.length;
    for (const [done, { candidate, edits }] of this.planned.entries()) {
      const number = done + 1;
      if (this.#isSpent(number)) return { state, complete: false };
      this.progress.report({ phase: 'grid', done, total, candidate, asked: 0, tokens: undefined, best: state.trial });
      const trial = await this.trials.try(number, { stage: 'grid', candidate, edits, base, rival: state.trial });
      if (this.#isBetter(trial, state.trial)) state = { trial, candidates: [candidate], edits };
      this.progress.report({ done: number, best: state.trial });
    }
    return { state, complete: true };
  }

  /**
   * Composes greedily. Starts from the best of the grid and goes through the matrices of the grid
   * from late to early layers. For each it tries the grid's interventions in their order, the
   * smallest share first, on top of those in the model. The first that does not hurt is accepted;
   * then comes the next matrix. It does not hurt if all validation questions were asked and
   * accuracy is higher, or equal with a log loss that is not higher (for texts: if perplexity is
   * not higher). An intervention that is not accepted is undone to the byte.
   *
   * If no intervention is better than the unedited model, there is nothing to compose with.
   */
  async #compose(base: Trial, best: SearchState): Promise<StageResult> {
    if (this.options.compose !== 'greedy' || best.candidates.length === 0) return { state: best, complete: true };
    await this.trials.keep(best.edits);
    let state = best;
    const total = this.planned.length;
    for (const [done, { candidate, edits }] of this.planned.entries()) {
      // A matrix that has an intervention gets no other.
      if (edits.some((edit) => state.edits.some((other) => meet(edit, other)))) continue;
      const number = total + done + 1;
      if (this.#isSpent(number)) return { state, complete: false };
      this.progress.report({ phase: 'greedy', done, total, candidate, asked: 0, tokens: undefined, best: state.trial });
      const upon = state.candidates;
      const plan = { stage: 'greedy', candidate, edits, base, rival: state.trial, upon } as const;
      const trial = await this.trials.try(number, plan);
      if (trial.accepted) state = { trial, candidates: [...upon, candidate], edits: [...state.edits, ...edits] };
      this.progress.report({ done: done + 1, best: state.trial });
    }
    return { state, complete: true };
  }

  /** Asks the unedited model and the winner the test questions; writes the winner first. */
  async #test(
    base: Trial,
    { trial: winner, candidates, edits }: SearchState,
    ended: TestLine['ended'],
  ): Promise<TestLine> {
    const { trials, progress } = this;
    const questions = this.options.test?.questions ?? [];
    const about = { candidate: undefined, asked: 0, tokens: undefined, questions: questions.length };
    let testSeconds = 0;
    const ask = async () => {
      if (questions.length === 0) return undefined;
      const begin = performance.now();
      progress.report({ phase: 'test', done: 0, total: 1, ...about });
      const answers = await trials.askAll(questions);
      testSeconds += (performance.now() - begin) / 1000;
      return answers;
    };
    await trials.reset();
    const before = await ask();
    // Left by a run that was killed here.
    await rm(this.model, { recursive: true, force: true });
    let after: Answers | undefined;
    if (candidates.length > 0) {
      progress.report({ phase: 'write' });
      await this.#writeWinner(candidates, edits);
      after = await ask();
    }
    const { seed } = this.header.settings;
    const line = await testLine({
      base,
      winner,
      interventions: candidates,
      before,
      after,
      ended,
      seed,
      testSeconds,
      objective: this.#objective,
      counts: countsOf(trials.lines),
      lines: trials.lines,
      signal: this.options.signal,
    });
    await trials.append(line);
    return line;
  }

  /**
   * Writes the winner by `editCheckpoint`, as `lowrank laser` would, and copies its tensors to the
   * working copy, so that the test questions evaluate the written ones.
   */
  async #writeWinner(candidates: readonly Candidate[], edits: readonly Edit[]): Promise<void> {
    const { settings } = this.header;
    const { threads, signal } = this.options;
    const { family, quant, shared, seed } = settings;
    await editCheckpoint(settings.source.path, this.model, {
      interventions: candidates.map(interventionOf),
      family,
      quant,
      shared,
      seed,
      threads,
      signal,
      restart: true,
    });
    const written = await open(mainOfCopy(this.checkpoint, this.model));
    try {
      await this.trials.take(written, new Set(edits.flatMap(({ tensor, identity }) => (identity ? [] : [tensor]))));
    } finally {
      await written.close();
    }
  }

  /**
   * Only a trial that was asked everything can win; of equals the first wins, the base before all.
   */
  #isBetter(trial: Trial, other: Trial): boolean {
    return trial.verdict === 'complete' && compareScores(trial.score, other.score, this.#objective) < 0;
  }

  /** Whether the budget allows no further trial; trials of an earlier run cost nothing. */
  #isSpent(number: number): boolean {
    const { known, done } = this.trials;
    if (known.has(number)) return false;
    const { trials = Number.POSITIVE_INFINITY, seconds = Number.POSITIVE_INFINITY } = this.options.budget ?? {};
    const tried = [...done.values()].filter(({ stage }) => stage !== 'base').length;
    const earlier = [...known.values()].reduce((sum, trial) => sum + trial.seconds.edit + trial.seconds.evaluate, 0);
    return tried >= trials || earlier + this.progress.seconds >= seconds;
  }
}

/** Rounds compare candidates on parts of the questions. */
function requireAnswers({ outcomes, losses }: Trial): void {
  if (/[01]/.test(outcomes) || losses?.some((loss) => loss !== null)) return;
  throw new LowRankError('ERR_ENGINE', 'the engine reports figures for the whole set, but rounds ask parts of it', {
    hint: 'Print a result for each question, or search the full grid.',
  });
}

function meet(a: Edit, b: Edit): boolean {
  return a.tensor === b.tensor && overlap(a.slice, b.slice);
}
