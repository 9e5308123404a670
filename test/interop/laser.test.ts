import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { spawnLowrank } from '../support/cli.js';
import { temporaryFolder } from '../support/folder.js';
import { doAndJudge, expectAsReference, expectSameLogits, type Job, laserArguments, type Outcome } from './judge.js';
import { python, root, unlessNoPython } from './python.js';

const model = join(root, '..', 'shared', 'data', 'models', 'stories260K');
const unlessNoData = existsSync(model) ? '' : ' (skipped: ../shared/data is absent)';

const job: Job = {
  name: 'stories260K',
  family: 'llama',
  input: model,
  edits: [
    { layers: '4', type: 'fc_in', rho: '0.1' },
    { layers: '0-2', type: 'attn', rho: '0.5' },
  ],
  logits: true,
};

/** The names and digests of all files of a folder. */
async function digests(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).sort();
  const hash = async (name: string) =>
    createHash('sha256')
      .update(await readFile(join(folder, name)))
      .digest('hex');
  return Promise.all(names.map(async (name) => `${name} ${await hash(name)}`));
}

describe.skipIf(!python || !existsSync(model))(`laser on a trained model${unlessNoPython}${unlessNoData}`, () => {
  let folder: string;
  let outcome: Outcome;

  beforeAll(async () => {
    folder = temporaryFolder();
    outcome = (await doAndJudge(join(folder, 'first'), [job])).get(job.name)!;
  });

  it('makes the edit that NumPy makes in float64, and leaves every other bit alone', () => {
    const verdict = expectAsReference(outcome, 32);
    // 1 matrix of layer 4 and 4 of each of the layers 0, 1, 2; 0.1 of 64 is 6.
    expect(verdict.edits).toHaveLength(13);
    expect(verdict.edits[0]).toEqual({ tensor: 'model.layers.4.mlp.gate_proj.weight', layer: 4, rank: 6 });
  });

  it('is loaded by transformers, with the logits of the model edited in NumPy', () => {
    expectSameLogits(expectAsReference(outcome, 32), 1e-4);
  });

  it('writes the same bytes again', async () => {
    const [first, second] = [join(folder, 'first', job.name), join(folder, 'second')];
    expect(await spawnLowrank(laserArguments(job, second))).toMatchObject({ code: 0 });
    expect(await digests(second)).toEqual(await digests(first));
  });
});
