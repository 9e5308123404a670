// node bench/search/guided.mjs <model> --dataset <file>: how often a guided search finds the winner
// of the full grid, and at which cost; ../README.md explains how.

/** @import { Engine, ExampleResult, Question, Session } from '../../dist/entries/evaluate.js' */
/** @import { SearchProgress, SearchSummary } from '../../dist/entries/search.js' */

import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { llamaEngine, loadQuestions, onnxEngine } from '../../dist/entries/evaluate.js';
import { search } from '../../dist/entries/search.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dataset: { type: 'string' },
    template: { type: 'string' },
    limit: { type: 'string' },
    layers: { type: 'string', default: 'all' },
    types: { type: 'string' },
    rhos: { type: 'string' },
    quant: { type: 'string' },
    seeds: { type: 'string', default: '20' },
    record: { type: 'string' },
    threads: { type: 'string' },
    peers: { type: 'string' },
  },
});

/**
 * Keeps the answers to each candidate's questions, so that every search after the full grid costs no
 * model. The model runs only for answers that are not known.
 */
class Recorder {
  /** @type {Map<string, Map<number, ExampleResult>>} */
  #known = new Map();
  /** The candidate that is in the model now. */
  candidate = '';
  asked = 0;

  /** @param {Engine} engine @param {string | undefined} file */
  constructor(engine, file) {
    this.inner = engine;
    this.file = file;
    const lines = file !== undefined && existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
    for (const line of lines) {
      const { candidate, results } = JSON.parse(line);
      this.#keep(candidate, results);
    }
  }

  /** @returns {Engine} */
  get engine() {
    const { name, runs } = this.inner;
    return { name, runs, open: (path) => this.#open(path), close: () => this.inner.close() };
  }

  /** @param {SearchProgress} progress */
  follow = ({ phase, candidate }) => {
    this.candidate = phase === 'base' ? 'base' : (candidate?.spec ?? 'base');
  };

  /** @param {string} path @returns {Promise<Session>} */
  async #open(path) {
    const recorder = this;
    const session = await this.inner.open(path);
    let isStale = false;
    return {
      checkpoint: path,
      async reload() {
        isStale = true;
      },
      close: () => session.close(),
      async *ask(questions, options) {
        const { candidate } = recorder;
        const known = recorder.#known.get(candidate);
        const missing = questions.filter(({ id }) => !known?.has(id));
        if (missing.length > 0) {
          if (isStale) await session.reload();
          isStale = false;
          /** @type {ExampleResult[]} */
          const results = [];
          for await (const result of session.ask(missing, options)) results.push({ ...result, prompt: '' });
          recorder.#keep(candidate, results);
          if (recorder.file) appendFileSync(recorder.file, `${JSON.stringify({ candidate, results })}\n`);
        }
        recorder.asked += questions.length;
        for (const { id } of questions) yield/** @type {ExampleResult} */ (recorder.#known.get(candidate)?.get(id));
      },
    };
  }

  /** @param {string} candidate @param {readonly ExampleResult[]} results */
  #keep(candidate, results) {
    const known = this.#known.get(candidate) ?? new Map();
    for (const result of results) known.set(result.id, result);
    this.#known.set(candidate, known);
  }
}

/** Reads `20-27,30`. @param {string} text @returns {number[]} */
function layersIn(text) {
  return text.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.split('-').map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/** @param {string} text */
const log = (text) => process.stderr.write(`${text}\n`);

/** The name of a winner. @param {SearchSummary} summary */
const nameOf = ({ interventions }) => interventions[0]?.spec ?? 'the unedited model';

/** @param {number} share */
const percent = (share) => `${(100 * share).toFixed(1)} %`;

async function main() {
  const [model] = positionals;
  if (model === undefined || values.dataset === undefined) throw new Error('pass a model and --dataset <file>');
  const { questions: all, generate } = await loadQuestions(values.dataset, { template: values.template });
  /** @type {readonly Question[]} */
  const questions = all.slice(0, values.limit === undefined ? undefined : Number(values.limit));
  const runtime = { threads: values.threads === undefined ? undefined : Number(values.threads), peers: values.peers };
  const recorder = new Recorder(/\.gguf$/i.test(model) ? llamaEngine(runtime) : onnxEngine(runtime), values.record);
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-guided-'));
  const grid = {
    engine: recorder.engine,
    validation: { questions },
    generate,
    layers: values.layers === 'all' ? /** @type {const} */ ('all') : layersIn(values.layers),
    types: /** @type {never} */ (values.types?.split(',')),
    rhos: values.rhos?.split(',').map(Number),
    quant: /** @type {never} */ (values.quant),
    threads: runtime.threads,
    cache: { folder: join(folder, 'svd') },
  };
  /** @param {object} options */
  const run = async (options) => {
    const out = join(folder, 'out');
    const summary = await search(model, { ...grid, ...options, out, onProgress: recorder.follow });
    rmSync(out, { recursive: true });
    return summary;
  };
  try {
    log(`the full grid on ${questions.length} questions`);
    const full = await run({ earlyStopping: false });
    const wanted = full.winnerTrial.score.accuracy ?? 0;
    const whole = full.counts.asked - questions.length;
    const seeds = Array.from({ length: Number(values.seeds) }, (_, seed) => seed);
    let [found, equal, missed, most, asked, stopping] = [0, 0, 0, 0, 0, 0];
    for (const seed of seeds) {
      const guided = await run({ guided: true, seed });
      stopping += (await run({ seed })).counts.asked - questions.length;
      asked += guided.counts.asked - questions.length;
      const miss = wanted - (guided.winnerTrial.score.accuracy ?? 0);
      if (nameOf(guided) === nameOf(full)) found++;
      if (miss === 0) equal++;
      missed += miss;
      most = Math.max(most, miss);
      log(`seed ${seed}: ${nameOf(guided)}, ${(100 * miss).toFixed(2)} points missed`);
    }
    const n = seeds.length;
    const base = full.baseTrial.score.accuracy ?? 0;
    process.stdout.write(
      [
        `${full.counts.trials} candidates, ${questions.length} questions; unedited ${percent(base)}, winner ${nameOf(full)} ${percent(wanted)}`,
        `guided asks ${percent(asked / n / whole)} of the full grid, early stopping ${percent(stopping / n / whole)}`,
        `of ${n} orders of questions, ${percent(found / n)} find the winner, ${percent(equal / n)} one as accurate`,
        `misses ${(100 * missed) / n} points on average, ${(100 * most).toFixed(2)} at most`,
        '',
      ].join('\n'),
    );
  } finally {
    await recorder.engine.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
