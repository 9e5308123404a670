import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openOnnx } from '../../lib/checkpoint/onnx/checkpoint.js';
import { MESSAGE_TYPES } from '../../lib/checkpoint/onnx/schema.js';
import { LowRankError } from '../../lib/errors.js';
import { mutateBytes } from '../fuzz/bytes.js';
import { mutateProtobuf } from '../fuzz/protobuf.js';
import { Random } from '../fuzz/random.js';
import { temporaryFolder } from '../support/folder.js';
import { python, runPython, unlessNoPython } from './python.js';

/**
 * A letter for each mutant; `onnx_mutants.py` says what they mean. Ours: "." opened, "x" refused.
 */
interface Verdicts {
  readonly load: string;
  readonly runtime: string;
  readonly ours: string;
}

const RANDOM_MUTANTS = 600;

/**
 * Every byte with each of its bits turned, as 0 and as 255; then cuts, insertions, splices and
 * changed fields.
 */
function mutantsOf(model: Buffer, random: Random): Buffer[] {
  const mutants: Buffer[] = [];
  for (const [at, byte] of model.entries()) {
    const values = new Set([...Array.from({ length: 8 }, (_, bit) => byte ^ (1 << bit)), 0, 255]);
    values.delete(byte);
    for (const value of values) {
      const mutant = Buffer.from(model);
      mutant[at] = value;
      mutants.push(mutant);
    }
  }
  for (let i = 0; i < RANDOM_MUTANTS; i++) {
    const mutate = random.chance(0.5) ? mutateBytes : mutateProtobuf;
    mutants.push(Buffer.from(mutate(random, model)));
  }
  return mutants;
}

describe.skipIf(!python)(`damaged ONNX models against onnx and onnxruntime${unlessNoPython}`, () => {
  let folder: string;
  const verdicts = new Map<string, Verdicts>();
  const models = new Map<string, { file: string; mutants: readonly Buffer[] }>();

  beforeAll(async () => {
    folder = temporaryFolder();
    await runPython('onnx_mutants.py', 'models', folder);
    const random = new Random(3);
    for (const name of await readdir(folder)) {
      const file = join(folder, name, 'model.onnx');
      const mutants = mutantsOf(await readFile(file), random);
      models.set(name, { file, mutants });
      const lengths = mutants.map(({ length }) => Buffer.from(Uint32Array.of(length).buffer));
      const content = Buffer.concat(mutants.flatMap((mutant, i) => [lengths[i]!, mutant]));
      await writeFile(join(folder, name, 'mutants.bin'), content);
    }
    const judging = runPython('onnx_mutants.py', 'judge', folder);
    const ours = new Map<string, string>();
    for (const [name, { file, mutants }] of models) ours.set(name, await judge(file, mutants));
    const theirs: Readonly<Record<string, Omit<Verdicts, 'ours'>>> = JSON.parse(await judging);
    for (const [name, letters] of ours) verdicts.set(name, { ...theirs[name]!, ours: letters });
  });

  /** In a folder of its own, with the data of the model beside it. */
  async function judge(model: string, mutants: readonly Buffer[]): Promise<string> {
    const own = temporaryFolder();
    await cp(join(model, '..', 'data.bin'), join(own, 'data.bin'));
    const file = join(own, 'model.onnx');
    let letters = '';
    for (const mutant of mutants) {
      await writeFile(file, mutant);
      try {
        await (await openOnnx(file, file)).close();
        letters += '.';
      } catch (error) {
        if (!(error instanceof LowRankError)) throw error;
        letters += 'x';
      }
    }
    await rm(own, { recursive: true });
    return letters;
  }

  const indexesWhere = (is: (load: string, runtime: string, ours: string) => boolean) =>
    [...verdicts].flatMap(([name, { load, runtime, ours }]) =>
      [...ours].flatMap((our, i) => (is(load[i]!, runtime[i]!, our) ? [`${name} ${i}`] : [])),
    );

  it('the schema is that of the Python package', async () => {
    const theirs: Readonly<Record<string, Readonly<Record<string, readonly [string, string]>>>> = JSON.parse(
      await runPython('onnx_mutants.py', 'schema'),
    );
    const ours = Object.fromEntries(
      [...MESSAGE_TYPES].map(([name, { fields }]) => [
        name,
        Object.fromEntries(fields.flatMap((field, number) => (field ? [[number, [field.name, field.kind]]] : []))),
      ]),
    );
    expect(ours).toEqual(theirs);
  });

  it('the models themselves open, and all verdicts are there', async () => {
    for (const [name, { file, mutants }] of models) {
      await (await openOnnx(file, file)).close();
      for (const letters of Object.values(verdicts.get(name)!)) expect(letters).toHaveLength(mutants.length);
    }
    expect(verdicts.size).toBe(6);
  });

  it('nothing opens that onnx.load refuses', () => {
    expect(indexesWhere((load) => load !== '.').length).toBeGreaterThan(2000);
    expect(indexesWhere((load, _, ours) => load !== '.' && ours === '.')).toEqual([]);
  });

  it('nothing opens that the parser of onnxruntime refuses', () => {
    expect(indexesWhere((_, runtime, ours) => runtime === 'p' && ours === '.')).toEqual([]);
  });

  it('most of what both accept opens', () => {
    const accepted = indexesWhere((load, runtime) => load === '.' && runtime === '.');
    const opened = indexesWhere((load, runtime, ours) => load === '.' && runtime === '.' && ours === '.');
    // The rest are damaged all the same: names that are no UTF-8, data of another length, fields
    // that stand twice.
    expect(opened.length / accepted.length).toBeGreaterThan(0.9);
  });
});
