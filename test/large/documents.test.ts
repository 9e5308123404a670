import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { unfinishedWork, workFolder } from '../../lib/checkpoint/copy/staging.js';
import { type EditOptions, editCheckpoint } from '../../lib/edit/edit-checkpoint.js';
import { LowRankError } from '../../lib/errors.js';
import { toJson } from '../../lib/files/document.js';
import { Journal, readJournal } from '../../lib/files/journal.js';
import { lockFolder, ourselves } from '../../lib/files/lock.js';
import { writeReport } from '../../lib/report/report.js';
import { readSearchLog } from '../../lib/search/log.js';
import { search } from '../../lib/search/search.js';
import { planJob, readPlan, writePlan } from '../../lib/shards/job-plan.js';
import { mergeShards } from '../../lib/shards/merge-shards.js';
import { runShard } from '../../lib/shards/run-shard.js';
import { filesIn, tinyLlama, writeModel } from '../support/checkpoints.js';
import { temporaryPaths } from '../support/folder.js';
import { LinearEngine, linearQuestions, writeLinearModel } from '../support/linear-model.js';

/**
 * Every kind of JSON file that a job reads back, as a job made it, with each of its values replaced
 * by others. Whatever stands there, the job ends with an error of this package that has a code, or
 * does what it would have done without the damage.
 */
const at = temporaryPaths();
/**
 * What no mutation may take longer than. A hang took minutes; a busy machine takes its time for a
 * merge.
 */
const PATIENCE_MS = 5000;

type Path = readonly (string | number)[];

/** Every place in a document; of long lists, the first and the last item. */
function* places(value: unknown, path: Path = []): Generator<Path> {
  yield path;
  if (typeof value !== 'object' || value === null) return;
  const keys = Array.isArray(value)
    ? [...new Set([0, value.length - 1])].filter((i) => i in value)
    : Object.keys(value);
  for (const key of keys) yield* places((value as never)[key], [...path, key]);
}

function replaced(value: unknown, [key, ...rest]: Path, by: unknown): unknown {
  if (key === undefined) return by;
  if (Array.isArray(value)) return value.with(key as number, replaced(value[key as number], rest, by));
  return { ...(value as object), [key]: replaced((value as never)[key], rest, by) };
}

const REPLACEMENTS: readonly unknown[] = [
  undefined,
  null,
  'x',
  '',
  '\0',
  true,
  -1,
  0.5,
  1e9,
  2 ** 53,
  1e300,
  [],
  {},
  [null],
  [[]],
  { x: 1 },
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  { $number: 'five' },
];

/** [what was done to it, the text of the document] */
function* damaged(document: unknown): Generator<readonly [string, string]> {
  const text = toJson(document);
  for (const path of places(document)) {
    for (const by of REPLACEMENTS) {
      const changed = toJson(replaced(document, path, by));
      if (changed !== undefined && changed !== text) yield [`${path.join('.')} = ${toJson(by)}`, changed];
    }
  }
  yield ['cut off', text.slice(0, -2)];
  yield ['two documents', `${text}${text}`];
  yield ['equal keys', text.replace('{', '{"x":1,"x":2,')];
  yield ['a prototype', text.replace('{', '{"__proto__":{"shards":1},')];
  yield ['brackets without end', '['.repeat(200_000)];
  yield ['objects without end', '{"a":'.repeat(200_000)];
  yield ['nothing', ''];
}

/**
 * What may be as large as it likes: an engine's values, and what follows from them, and the size of
 * a matrix.
 */
const BOUNDLESS = /\b(accuracy|logLoss|perplexity|difference|low|high|better|norm|spectralError|excessBound)$/;

/**
 * Everything in a report that is no value of the kind that stands there in a sound one. Fields may
 * be missing.
 */
function strange(sound: unknown, found: unknown): string[] {
  const kind = (value: unknown, path: Path) => {
    const item = path.reduce<unknown>((inner, key) => Object(inner)[key], value);
    const isMad = typeof item === 'number' && !(Math.abs(item) <= 2 ** 51) && !BOUNDLESS.test(path.join('.'));
    return isMad ? String(item) : item === null ? 'null' : Array.isArray(item) ? 'list' : typeof item;
  };
  return [...places(found)].flatMap((path) => {
    const [before, now] = [kind(sound, path), kind(found, path)];
    return now === before || [now, before].includes('undefined') ? [] : [`${path.join('.')}: ${now} for ${before}`];
  });
}

interface Trial {
  readonly document: unknown;
  /** Puts the text in its place, and all other files of the job in theirs. */
  readonly put: (text: string) => Promise<void>;
  /** What the job comes to. */
  readonly job: () => Promise<{ readonly report: unknown; readonly bytes?: unknown }>;
}

/**
 * @param every of so many mutations one is tried, where the job takes long; no divisor of the
 *   number of replacements
 */
async function attempt({ document, put, job }: Trial, every = 1): Promise<{ refused: string[]; taken: string[] }> {
  await put(toJson(document));
  const expected = await job();
  const refused: string[] = [];
  const taken: string[] = [];
  for (const [i, [what, text]] of [...damaged(document)].entries()) {
    if (i % every !== 0) continue;
    await put(text);
    const begin = performance.now();
    let found: typeof expected | undefined;
    try {
      found = await job();
    } catch (error) {
      if (!(error instanceof LowRankError)) throw new Error(`${what}: ${(error as Error).stack}`);
      expect(error.code, what).toMatch(/^ERR_/);
      refused.push(what);
    }
    expect(performance.now() - begin, what).toBeLessThan(PATIENCE_MS);
    if (found === undefined) continue;
    expect([what, found.bytes, strange(expected.report, found.report)]).toEqual([what, expected.bytes, []]);
    taken.push(what);
  }
  return { refused, taken };
}

const EDIT: EditOptions = { interventions: ['0-1:mlp:0.5', '0:q_proj:0.25'], threads: 1 };
let model: string;

beforeAll(async () => {
  model = await writeModel(at('model'), tinyLlama());
});

const digest = (text: string) => createHash('sha256').update(text).digest('hex');
async function digests(folder: string): Promise<unknown> {
  return [...(await filesIn(folder))].map(([name, bytes]) => [name, digest(bytes.toString('latin1'))]);
}

describe('files that a job reads back', () => {
  describe('of a job for many machines', () => {
    const plan = () => at('plan.json');
    const out = () => at('merged');
    const merge = async () => {
      try {
        const report = await mergeShards(plan(), { out: out() });
        return { report: report.edits, bytes: await digests(out()) };
      } finally {
        await rm(out(), { recursive: true, force: true });
      }
    };

    beforeAll(async () => {
      await writePlan(plan(), await planJob(model, at('never'), { ...EDIT, shards: 2 }));
      await runShard(plan(), { shard: 1, shards: 1 });
    });

    it('the plan', async () => {
      const document = JSON.parse(await readFile(plan(), 'utf8'));
      const { refused, taken } = await attempt({ document, put: (text) => writeFile(plan(), text), job: merge });
      await writeFile(plan(), toJson(document));
      expect(refused.length).toBeGreaterThan(800);
      // What only a person reads, or what another choice is as good as.
      const free = /^(kernel|out|options\.(family|maxMemory)|settings\.(choices|x)|options\.interventions\.\d\.spec) /;
      const also = /^(out|source|shards|skipped|output)\b/;
      expect(taken.filter((what) => !free.test(what) && !also.test(what))).toEqual([]);
      await writeFile(plan(), toJson({ ...document, shards: 1e9 }));
      await expect(readPlan(plan())).rejects.toMatchObject({
        code: 'ERR_CHECKPOINT_FORMAT',
        kind: 'InvalidPlan',
        message: `${plan()}: is not a plan of lowrank: shards: expected a whole number from 1 to 100000, got 1000000000`,
      });
      await writeFile(plan(), toJson({ ...document, tasks: [null] }));
      await expect(mergeShards(plan())).rejects.toThrow('tasks[0]: expected an object, got null');
      await writeFile(plan(), toJson({ ...document, shards: 100_000 }));
      await rm(at('plan.results'), { recursive: true });
      const begin = performance.now();
      await expect(mergeShards(plan())).rejects.toMatchObject({ kind: 'MissingResults' });
      expect(performance.now() - begin).toBeLessThan(PATIENCE_MS);
      await writeFile(plan(), toJson(document));
      await runShard(plan(), { shard: 1, shards: 1 });
    });

    it('a result', async () => {
      const folder = at('plan.results');
      const record = (await readdir(folder)).find((name) => name.startsWith('task-2.'))!;
      const document = JSON.parse(await readFile(join(folder, record), 'utf8'));
      let present = record;
      // Named by its digest, or it would count as damaged by accident.
      const put = async (text: string) => {
        await rm(join(folder, present));
        present = `task-2.${digest(text)}.json`;
        await writeFile(join(folder, present), text);
      };
      const { refused, taken } = await attempt({ document, put, job: merge }, 3);
      await put(toJson(document));
      expect(refused.length).toBeGreaterThan(150);
      const free = /^(kernel|edited\.0(\.certificate)?\.(slice|layer|type|relativeError|keptEnergy|rankFraction|\w+)) /;
      expect(taken.filter((what) => !free.test(what))).toEqual([]);
    });
  });

  it('each kind of line of the journal', async () => {
    const out = at('resumed');
    const controller = new AbortController();
    const stopped = editCheckpoint(model, out, {
      ...EDIT,
      signal: controller.signal,
      onProgress: ({ done }) => done === 3 && controller.abort(new Error('stopped')),
    });
    await expect(stopped).rejects.toThrow('stopped');
    const work = workFolder(out);
    await cp(work, at('saved'), { recursive: true });
    const lines = await readJournal(join(work, 'journal'));
    expect(lines.length).toBeGreaterThanOrEqual(4);
    const job = async () => {
      try {
        await unfinishedWork(out);
        const report = await editCheckpoint(model, out, EDIT);
        return { report: report.edits, bytes: await digests(out) };
      } finally {
        await rm(out, { recursive: true, force: true });
        await rm(work, { recursive: true, force: true });
      }
    };
    for (const [at_, least] of [
      [0, 30],
      [1, 3],
      [2, 100],
    ] as const) {
      const put = async (text: string) => {
        await cp(at('saved'), work, { recursive: true });
        await rm(join(work, 'journal'));
        const before = await Journal.open(join(work, 'journal'));
        for (const line of lines.slice(0, at_)) await before.journal.append(line);
        await before.journal.close();
        const mark = digest(text).slice(0, 16);
        await writeFile(join(work, 'journal'), `${mark} ${text}\n`, { flag: 'a' });
        const rest = lines.slice(at_ + 1).map((line) => toJson(line));
        const marked = rest.map((line) => `${digest(line).slice(0, 16)} ${line}\n`);
        await writeFile(join(work, 'journal'), marked.join(''), { flag: 'a' });
      };
      const { refused, taken } = await attempt({ document: lines[at_], put, job }, 3);
      expect(refused.length).toBeGreaterThan(least);
      // A line about what is not in the copy, or does not hold, is done anew; reported numbers may
      // be others.
      const free = /^(settings\.(threads|overlap|method|choices)|file|tensor|bytes|sha256|note\..*) /;
      expect(taken.filter((what) => !free.test(what))).toEqual([]);
    }
  });

  it('--restart throws a journal away that is not understood', async () => {
    const out = at('restarted');
    await mkdir(workFolder(out), { mode: 0o700 });
    await writeFile(join(workFolder(out), 'journal'), `${digest('[').slice(0, 16)} [\n`);
    await expect(editCheckpoint(model, out, EDIT)).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT_FORMAT',
      kind: 'InvalidJournal',
      hint: expect.stringContaining('--restart'),
      message: expect.stringContaining('line 1: invalid JSON'),
    });
    expect(await readdir(workFolder(out))).toEqual(['journal']);
    await editCheckpoint(model, out, { ...EDIT, restart: true });
    expect((await readdir(at())).filter((name) => name.startsWith('.restarted'))).toEqual([]);
  });

  it('a lock', async () => {
    const folder = at('locked');
    await mkdir(folder);
    const file = join(folder, 'lock.0123456789abcdef');
    // Of this process, which lives: whatever is damaged, it may not be taken for dead.
    const { refused, taken } = await attempt({
      document: { ...ourselves(), host: 'elsewhere' },
      put: (text) => writeFile(file, text),
      job: async () => {
        try {
          await (await lockFolder(folder)).release();
          return { report: 'let in' };
        } catch (error) {
          if ((error as { kind?: string }).kind === 'InUse') return { report: 'in use' };
          throw error;
        }
      },
    });
    expect(refused.length).toBeGreaterThan(50);
    // An empty file is what a loss of power may leave.
    expect(taken.filter((what) => !/^(pid|start|host|boot|space) /.test(what))).toEqual(['nothing']);
  });

  it('the log of a search, and what a report is made of', async () => {
    const source = await writeLinearModel(at('linear'));
    const validation = { questions: await linearQuestions(source, 40) };
    const test = { questions: await linearQuestions(source, 40, 40) };
    const out = at('found');
    const options = { rhos: [0.1, 0.5], compose: 'greedy', cache: { bytes: 0 }, out, validation, test } as const;
    await search(source, { ...options, engine: new LinearEngine() });
    const log = (await readFile(join(out, 'trials.jsonl'), 'utf8')).trimEnd().split('\n');
    const values = log.map((line) => JSON.parse(line));
    expect(values.at(-1).line).toBe('test');
    const names = values.map(({ line, stage }) => `${line} ${stage}`);
    for (const place of [...names.keys()].filter((i) => names.indexOf(names[i]!) === i)) {
      const { refused } = await attempt(
        {
          document: values[place],
          put: (text) => writeFile(join(out, 'trials.jsonl'), `${log.with(place, text).join('\n')}\n`),
          job: async () => {
            // Most are refused here already, which is quicker.
            await readSearchLog(out);
            const summary = await search(source, { ...options, engine: new LinearEngine() });
            await writeReport(out);
            return { report: summary };
          },
        },
        7,
      );
      expect(refused.length).toBeGreaterThan(10);
    }
  });

  it('the report of an edit', async () => {
    const report = await editCheckpoint(model, at('edited'), EDIT);
    const file = at('report.json');
    const { refused } = await attempt({
      document: JSON.parse(JSON.stringify(report)),
      put: (text) => writeFile(file, text),
      job: async () => {
        const html = await readFile(await writeReport(file, at('report.html')), 'utf8');
        return { report: /NaN|undefined|\[object/.exec(html.replace(/<style.*?<\/style>/gs, ''))?.[0] };
      },
    });
    expect(refused.length).toBeGreaterThan(500);
  });
});
