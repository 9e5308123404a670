import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { spawnLowrank } from '../support/cli.js';
import { temporaryFolder } from '../support/folder.js';
import {
  doAndJudge,
  type Edit,
  expectAsReference,
  expectSameLogits,
  type Job,
  laserArguments,
  type Outcome,
} from './judge.js';
import { python, runPython, unlessNoPython } from './python.js';

const ATTENTION = ['q_proj', 'k_proj', 'v_proj', 'out_proj'];
const GROUPS = ['attn', 'mlp', 'all'];
const PLAIN = [...ATTENTION, 'fc_in', 'fc_out', ...GROUPS];
const GATED = [...ATTENTION, 'fc_in', 'fc_up', 'fc_out', ...GROUPS];

/** The types that each family has. The names of the families are those of `make_checkpoints.py`. */
const TYPES: Record<string, readonly string[]> = {
  gptj: PLAIN,
  llama: GATED,
  mistral: GATED,
  qwen2: GATED,
  gemma: GATED,
  phi: PLAIN,
  oldphi: PLAIN,
  phi3: GATED,
  neox: PLAIN,
  opt: PLAIN,
  gpt2: PLAIN,
  gpt2base: PLAIN,
  decision: PLAIN,
  bert: PLAIN,
  roberta: PLAIN,
  distilbert: PLAIN,
};
const FAMILIES = Object.keys(TYPES);
/**
 * No class of `transformers` loads the first layout of Phi, and none shards it: its tensors are
 * compared, no more.
 */
const withoutClass = (family: string) => family === 'oldphi';

interface Case {
  readonly name: string;
  readonly family: string;
  /** A name that `make_checkpoints.py` understands: family, dtype, `sharded`. */
  readonly checkpoint: string;
  readonly edits: readonly Edit[];
}

const edit = (layers: string, type: string, rho: string): Edit => ({ layers, type, rho });

function makeCase(family: string, storage: string, ...edits: Edit[]): Case {
  const at = edits.map(({ layers, type, rho }) => `${layers}:${type}:${rho}`).join(' ');
  return { name: `${family} ${storage} ${at}`, family, checkpoint: `${family}-${storage}`, edits };
}

const everyType = FAMILIES.flatMap((family) =>
  TYPES[family]!.map((type) => makeCase(family, 'f32', edit('1', type, '0.35'))),
);

/**
 * Each storage with another choice of types, so that slices, whole matrices and groups all meet 16
 * bits and shards.
 */
const everyStorage = FAMILIES.flatMap((family) => [
  makeCase(family, 'f16', edit('0', 'v_proj', '0.5'), edit('1', 'mlp', '0.25')),
  makeCase(family, 'bf16', edit('0', 'k_proj', '0.5'), edit('0', 'fc_in', '0.3')),
  ...(withoutClass(family)
    ? []
    : [
        makeCase(family, 'f32-sharded', edit('0', 'attn', '0.4'), edit('1', 'fc_in', '0.25')),
        makeCase(family, 'f16-sharded', edit('1', 'q_proj', '0.25'), edit('1', 'fc_out', '0.5')),
        makeCase(family, 'bf16-sharded', edit('0-1', 'all', '0.5')),
      ]),
]);

const corners = [
  // Layer 1 is not layer 10, and a range ends with its last layer.
  makeCase('llama', 'f32', edit('1-10', 'fc_out', '0.2')),
  makeCase('neox', 'f32', edit('10', 'q_proj', '0.2'), edit('1', 'attn', '0.2')),
  // Three slices of one matrix are three edits, each with a rank of its own.
  makeCase('gpt2', 'f32', edit('0', 'q_proj', '0.1'), edit('0', 'k_proj', '0.3'), edit('0', 'v_proj', '0.6')),
  makeCase('phi3', 'bf16', edit('1', 'q_proj', '0.1'), edit('1', 'v_proj', '0.6'), edit('1', 'fc_up', '0.3')),
  // Nothing kept, and everything.
  makeCase('llama', 'f16', edit('3', 'fc_in', '0')),
  makeCase('neox', 'f32', edit('1', 'k_proj', '0')),
  makeCase('gpt2', 'f32', edit('1', 'v_proj', '1'), edit('0', 'fc_in', '0.5')),
];

const cases = [...everyType, ...everyStorage, ...corners];
const checkpoints = [...new Set(cases.map(({ checkpoint }) => checkpoint))];

describe.skipIf(!python)(`laser on every family of models${unlessNoPython}`, () => {
  let folder: string;
  let outcomes: Map<string, Outcome>;
  const inputOf = (checkpoint: string) => join(folder, 'models', checkpoint);

  beforeAll(async () => {
    folder = temporaryFolder();
    await runPython('make_checkpoints.py', join(folder, 'models'), ...checkpoints);
    const jobs = cases.map(({ name, family, checkpoint, edits }): Job => {
      return { name, family, input: inputOf(checkpoint), edits, logits: !withoutClass(family) };
    });
    outcomes = await doAndJudge(join(folder, 'edited'), jobs);
  });

  it.each(cases)('$name', ({ name, family, checkpoint }) => {
    const bits = checkpoint.includes('f32') ? 32 : 16;
    const verdict = expectAsReference(outcomes.get(name)!, bits);
    // A 16-bit number that was rounded the other way moves the logits by more than float32 would.
    if (!withoutClass(family)) expectSameLogits(verdict, bits === 32 ? 1e-4 : 1e-2);
  });

  it.each(FAMILIES.filter((family) => !TYPES[family]!.includes('fc_up')))('refuses fc_up of %s', async (family) => {
    const output = join(folder, `refused-${family}`);
    const args = laserArguments({ input: inputOf(`${family}-f32`), edits: [edit('1', 'fc_up', '0.5')] }, output);
    const { code, stderr } = await spawnLowrank(args);
    expect(code).toBeOneOf([1, 2]);
    expect(stderr).toContain('fc_up');
    expect(existsSync(output)).toBe(false);
  });

  it('refuses a layer that is not there', async () => {
    const output = join(folder, 'refused-layer');
    const args = laserArguments({ input: inputOf('gpt2-f32'), edits: [edit('2', 'fc_in', '0.5')] }, output);
    expect(await spawnLowrank(args)).toMatchObject({
      code: expect.toBeOneOf([1, 2]),
      stderr: expect.stringContaining('2'),
    });
    expect(existsSync(output)).toBe(false);
  });
});
