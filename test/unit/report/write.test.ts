import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type EditReport, editCheckpoint } from '../../../lib/edit/edit-checkpoint.js';
import { parseDocument, toJson } from '../../../lib/files/document.js';
import { parseAt } from '../../../lib/interventions/spec.js';
import { EDIT_REPORT } from '../../../lib/report/edit-document.js';
import { editReport } from '../../../lib/report/edit-report.js';
import { writeReport } from '../../../lib/report/report.js';
import { searchReport } from '../../../lib/report/search-report.js';
import { readSearchLog } from '../../../lib/search/log.js';
import { faultInLog } from '../../../lib/search/log-schema.js';
import { search } from '../../../lib/search/search.js';
import { lowrank } from '../../support/cli.js';
import { temporaryFolder } from '../../support/folder.js';
import { LinearEngine, linearQuestions, writeLinearModel } from '../../support/linear-model.js';
import { type Log, madeLog } from '../../support/search-log.js';
import { named, parseHtml, textOf } from './html-parser.js';

const root = temporaryFolder();
let next = 0;

async function folder(): Promise<string> {
  const path = join(root, String(next++));
  await mkdir(path);
  return path;
}

async function folderWith(log: Log): Promise<string> {
  const path = await folder();
  await writeFile(join(path, 'trials.jsonl'), log.map((line) => `${toJson(line)}\n`).join(''));
  return path;
}

describe('writing a report', () => {
  it('goes beside the log, replaces an older report, and nothing else', async () => {
    const path = await folderWith(madeLog());
    const file = join(path, 'report.html');
    expect(await writeReport(path)).toBe(file);
    const log = await readSearchLog(path);
    expect(await readFile(file, 'utf8')).toBe(searchReport(log));
    expect(await writeReport(join(path, 'trials.jsonl'))).toBe(file);
    expect((await readdir(path)).sort()).toEqual(['report.html', 'trials.jsonl']);

    const other = join(path, 'notes.html');
    await writeFile(other, '<p>my own</p>');
    await expect(writeReport(path, other)).rejects.toMatchObject({ code: 'ERR_OUTPUT', kind: 'OutputExists' });
    await expect(writeReport(path, path)).rejects.toMatchObject({ code: 'ERR_OUTPUT', kind: 'OutputExists' });
    expect(await readFile(other, 'utf8')).toBe('<p>my own</p>');
    await expect(writeReport(path, join(path, 'no', 'such.html'))).rejects.toMatchObject({ code: 'ERR_CHECKPOINT_IO' });
    expect((await readdir(path)).sort()).toEqual(['notes.html', 'report.html', 'trials.jsonl']);
  });

  it('of a search that really ran, finished and in its middle', async () => {
    const model = await writeLinearModel(join(await folder(), 'model'));
    const out = join(await folder(), 'found');
    const all = await linearQuestions(model, 300);
    const summary = await search(model, {
      engine: new LinearEngine(),
      out,
      layers: 'all',
      types: ['fc_in', 'fc_out'],
      rhos: [0.1, 0.5],
      compose: 'greedy',
      validation: { questions: all.slice(0, 120) },
      test: { questions: all.slice(120) },
      cache: { bytes: 0 },
    });
    const page = parseHtml(await readFile(await writeReport(out), 'utf8'));
    const lead = textOf(named(page, 'header')[0]!);
    for (const { spec } of summary.interventions) expect(lead).toContain(spec);
    const { accuracy } = summary.edited!;
    expect(named(page, 'data').map(({ attributes }) => attributes.get('value'))).toContain(String(accuracy));
    expect(named(page, 'svg').length).toBeGreaterThan(1);

    const lines = (await readFile(join(out, 'trials.jsonl'), 'utf8')).split('\n');
    for (let kept = 1; kept < lines.length; kept++) {
      const torn = await folder();
      await writeFile(join(torn, 'trials.jsonl'), `${lines.slice(0, kept).join('\n')}\n${lines[kept]!.slice(0, 20)}`);
      parseHtml(await readFile(await writeReport(torn), 'utf8'));
    }
  });

  it('of an edit', async () => {
    const path = await folder();
    const model = await writeLinearModel(join(path, 'model'));
    const interventions = [parseAt('1:fc_in:0.2'), parseAt('0:fc_out:1'), parseAt('0:fc_in:0')];
    const report = await editCheckpoint(model, join(path, 'edited'), { interventions });
    const file = join(path, 'edited.json');
    await writeFile(file, JSON.stringify(report, null, 2));
    const page = parseHtml(await readFile(await writeReport(file, join(path, 'edited.html')), 'utf8'));
    const text = textOf(page);
    for (const { tensor } of report.edits) expect(text).toContain(tensor);
    const values = named(page, 'data').map(({ attributes }) => Number(attributes.get('value')));
    for (const { relativeError, keptEnergy } of report.edits) {
      expect(values).toContain(relativeError);
      expect(values).toContain(keptEnergy);
    }
    expect(values).toContain(report.memory.measured.peakRss);
    expect(text).toContain('--at 0:fc_out:1 --at 0:fc_in:0 --at 1:fc_in:0.2');
  });

  it('of an edit gives a command that makes the same again', async () => {
    const path = await folder();
    const model = await writeLinearModel(join(path, 'model'));
    const made = [
      ['--lnum', '1', '--lname', 'fc_in', '--rate', '9'],
      ['--intervention', 'random', '--at', '0:fc_in:0.5', '--seed', '7'],
      [
        '--tensor',
        '*.1.*gate_proj*:0.5',
        '--method',
        'krylov',
        '--threads',
        '1',
        '--memory',
        '1GB',
        '--family',
        'llama',
      ],
    ];
    for (const [i, flags] of made.entries()) {
      const out = join(path, `edited${i}`);
      const { code, stdout } = await lowrank(['laser', model, '-o', out, ...flags, '--json']);
      expect(code, stdout).toBe(0);
      const file = join(path, `edited${i}.json`);
      await writeFile(file, stdout);
      const page = parseHtml(await readFile(await writeReport(file, join(path, `${i}.html`)), 'utf8'));
      const [command] = named(page, 'pre').map(textOf);
      const words = command!.split(' ').map((word) => word.replace(/^'(.*)'$/, '$1'));
      expect(words.slice(0, 2)).toEqual(['lowrank', 'laser']);
      const again = join(path, `again${i}`);
      expect((await lowrank(words.slice(1).map((word) => (word === out ? again : word)))).code).toBe(0);
      const [first, second] = await Promise.all([out, again].map((copy) => readFile(join(copy, 'model.safetensors'))));
      expect(second!.equals(first!), command).toBe(true);
      expect(first!.equals(await readFile(join(model, 'model.safetensors')))).toBe(false);
    }
  });

  it('names the fault of a log', async () => {
    const [header, ...lines] = madeLog();
    const refused = async (content: string) => {
      const path = await folder();
      await writeFile(join(path, 'trials.jsonl'), content);
      const error: unknown = await writeReport(path).then(
        () => undefined,
        (reason) => reason,
      );
      expect(error).toMatchObject({ code: 'ERR_OUTPUT', kind: 'NotALog' });
      expect(await readdir(path)).toEqual(['trials.jsonl']);
      return (error as Error).message;
    };
    const text = (...all: unknown[]) => all.map((line) => `${JSON.stringify(line)}\n`).join('');
    expect(await refused('')).toContain('header of a search');
    expect(await refused('hello\nworld\n')).toContain('invalid JSON');
    const at = lines.findIndex((line) => line.line === 'trial' && line.number === 2);
    const wrong = { ...lines[at], score: { questions: '<b>', accuracy: 1 } };
    expect(await refused(text(header, ...lines.with(at, wrong as never)))).toContain(
      `line ${at + 2}: score: questions: expected a whole number`,
    );
    expect(await refused(text({ ...header, settings: { ...header.settings, source: undefined } }))).toContain('source');
    expect(await refused(text({ line: 'search' }))).toContain('line 1');
  });

  /** Copies of an object with each of its values, and of theirs, replaced by others. */
  function* damaged(whole: object): Generator<object> {
    for (const [key, value] of Object.entries(whole)) {
      for (const other of [undefined, null, 'x', -1, [], {}, [[]]]) yield { ...whole, [key]: other };
      if (Array.isArray(value)) {
        for (const [i, item] of value.entries()) {
          if (typeof item !== 'object' || item === null || i > 1) continue;
          for (const inner of damaged(item)) yield { ...whole, [key]: value.with(i, inner) };
        }
      } else if (typeof value === 'object' && value !== null) {
        for (const inner of damaged(value)) yield { ...whole, [key]: inner };
      }
    }
  }

  it('a log with any value replaced is taken or refused, never a fault of ours', () => {
    const log = madeLog({ layers: 1, rhos: [0.1, 0.5] });
    const kindOf = (line: Log[number]) => `${line.line} ${line.line === 'trial' ? line.stage : ''}`;
    const ofEachKind = log.filter((line, i) => log.findIndex((other) => kindOf(other) === kindOf(line)) === i);
    expect(ofEachKind.map(kindOf)).toHaveLength(6);
    let [taken, refused] = [0, 0];
    for (const line of ofEachKind) {
      for (const bad of damaged(line)) {
        const changed = log.with(log.indexOf(line), { ...bad, line: line.line } as never) as unknown as Log;
        // What a file could hold.
        const read = JSON.parse(JSON.stringify(changed)) as Log;
        if (faultInLog(read) !== undefined) {
          refused++;
          continue;
        }
        parseHtml(searchReport(read));
        taken++;
      }
    }
    expect(refused).toBeGreaterThan(500);
    expect(taken).toBeGreaterThan(100);
  });

  it('so is the report of an edit', async () => {
    const path = await folder();
    const model = await writeLinearModel(join(path, 'model'));
    const report = await editCheckpoint(model, join(path, 'edited'), { interventions: [parseAt('1:fc_in:0.2')] });
    for (const bad of damaged(JSON.parse(JSON.stringify(report)))) {
      try {
        const read = parseDocument(Buffer.from(JSON.stringify(bad)), 'file', EDIT_REPORT);
        parseHtml(editReport(read as EditReport));
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_OUTPUT', kind: 'NotALog' });
      }
    }
  });

  it('a document that is not a report of an edit is refused with a hint', async () => {
    const file = join(await folder(), 'summary.json');
    await writeFile(file, '{"winner":2}');
    await expect(writeReport(file)).rejects.toMatchObject({
      kind: 'NotALog',
      hint: expect.stringContaining('folder of a search'),
    });
    await expect(writeReport(join(root, 'nowhere'))).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT_IO',
      kind: 'NotFound',
    });
  });
});

describe('lowrank report', () => {
  it('writes, and prints the path', async () => {
    const path = await folderWith(madeLog());
    const file = join(path, 'report.html');
    expect(await lowrank(['report', path])).toEqual({ code: 0, signal: null, stdout: `wrote ${file}\n`, stderr: '' });
    const out = join(path, 'other.html');
    const { stdout } = await lowrank(['report', path, '-o', out, '--json']);
    expect(JSON.parse(stdout)).toEqual({ report: out });
    expect(await readFile(out, 'utf8')).toBe(await readFile(file, 'utf8'));
    expect(await lowrank(['report', join(path, 'nothing')])).toMatchObject({ code: 1, stdout: '' });
    expect(await lowrank(['report'])).toMatchObject({ code: 2 });
    expect((await lowrank(['report', '--help'])).stdout).toContain('lowrank report found');
  });
});
