import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { open } from '../../lib/checkpoint/open.js';
import { editCheckpoint } from '../../lib/edit/edit-checkpoint.js';
import { temporaryFolder } from '../support/folder.js';
import { corpus } from '../support/onnx-corpus.js';
import { peers } from '../support/peers.js';
import { python, runPython, unlessNoPython } from './python.js';

/** A part of a weight, by the node that multiplies by it, and the singular values that stay. */
interface NodeEdit {
  readonly node: string;
  readonly rank: number;
  readonly columns?: readonly [number, number];
}

/** The fields of the verdicts of `onnx_judge.py`, explained there. */
interface Verdict {
  readonly changed: readonly string[];
  readonly meant: readonly string[];
  readonly sameGraph: boolean;
  readonly error: number;
  readonly effect: number;
  readonly tokens: readonly number[];
  readonly expected: readonly number[];
}

/** What `onnx_tensors.py` says of a model. */
interface Listing {
  readonly error?: string;
  readonly tensors?: readonly { name: string; type: string; shape: number[]; sha256: string }[];
}

const MODELS: Readonly<Record<string, { at: readonly string[]; edits: readonly NodeEdit[] }>> = {
  llama: {
    at: ['1:fc_up:0.25', '0:q_proj:0.5', '0:k_proj:0.25'],
    edits: [
      { node: '/model/layers.1/mlp/up_proj/MatMul', rank: 8 },
      { node: '/model/layers.0/self_attn/q_proj/MatMul', rank: 16 },
      // 16 x 32, so that a quarter is 4.
      { node: '/model/layers.0/self_attn/k_proj/MatMul', rank: 4 },
    ],
  },
  gpt2: {
    at: ['0:k_proj:0.25', '1:fc_out:0.125'],
    edits: [
      { node: '/transformer/h.0/attn/c_attn/Gemm', rank: 8, columns: [32, 64] },
      { node: '/transformer/h.1/mlp/c_proj/Gemm', rank: 4 },
    ],
  },
  phi3: {
    at: ['0:v_proj:0.25', '1:fc_in:0.125'],
    edits: [
      // q has 4 heads of 8, k and v have 2: the linear layer [64, 32] lies turned, [32, 64].
      { node: '/model/layers.0/self_attn/qkv_proj/MatMul', rank: 4, columns: [48, 64] },
      { node: '/model/layers.1/mlp/gate_up_proj/MatMul', rank: 4, columns: [0, 48] },
    ],
  },
};

/** ONNX's names of types, as they are called here. */
const TYPES: Readonly<Record<string, string>> = {
  FLOAT: 'F32',
  DOUBLE: 'F64',
  FLOAT16: 'F16',
  BFLOAT16: 'BF16',
  COMPLEX64: 'C64',
  COMPLEX128: 'C128',
  BOOL: 'BOOL',
  INT2: 'I2',
  INT4: 'I4',
  INT8: 'I8',
  INT16: 'I16',
  INT32: 'I32',
  INT64: 'I64',
  UINT2: 'U2',
  UINT4: 'U4',
  UINT8: 'U8',
  UINT16: 'U16',
  UINT32: 'U32',
  UINT64: 'U64',
  FLOAT8E4M3FN: 'F8_E4M3',
  FLOAT8E4M3FNUZ: 'F8_E4M3FNUZ',
  FLOAT8E5M2: 'F8_E5M2',
  FLOAT8E5M2FNUZ: 'F8_E5M2FNUZ',
  FLOAT8E8M0: 'F8_E8M0',
  FLOAT4E2M1: 'F4',
  FLOAT6E2M3: 'F6_E2M3',
  FLOAT6E3M2: 'F6_E3M2',
};

/** The part of onnxruntime-node that is used here. */
interface OnnxRuntime {
  readonly InferenceSession: {
    create(path: string): Promise<{
      run(feeds: object): Promise<{ logits: { data: Float32Array } }>;
      release(): Promise<void>;
    }>;
  };
  readonly Tensor: new (type: 'int64', data: BigInt64Array, dims: readonly number[]) => object;
}

/** Where the engines of the evaluation tests are installed. */
const hasRuntime = existsSync(join(peers, 'node_modules', 'onnxruntime-node'));
const unlessNoRuntime = hasRuntime ? '' : ' (skipped: no onnxruntime-node; npm --prefix test/peers ci)';

const fileOf = (folder: string, name: string) =>
  join(folder, name, name.endsWith('-external') ? 'onnx/model.onnx' : 'model.onnx');

describe.skipIf(!python)(`ONNX models that Python makes and judges${unlessNoPython}`, () => {
  let folder: string;
  const verdicts = new Map<string, Verdict>();
  const edited = new Map<string, string>();

  beforeAll(async () => {
    folder = temporaryFolder();
    const made = join(folder, 'made');
    await runPython('onnx_make.py', made);
    const jobs = [];
    for (const [name, { at, edits }] of Object.entries(MODELS)) {
      for (const variant of [name, `${name}-external`]) {
        const source = fileOf(made, variant);
        const out = join(folder, `edited-${variant}`);
        // A model in one file becomes one file; one with external data is edited with its folder.
        const isFile = variant === 'gpt2';
        await editCheckpoint(isFile ? source : join(made, variant), out, { interventions: at });
        jobs.push({ name: variant, source, edited: isFile ? out : fileOf(folder, `edited-${variant}`), edits });
      }
    }
    const file = join(folder, 'jobs.json');
    await writeFile(file, JSON.stringify(jobs));
    const judged: Verdict[] = JSON.parse(await runPython('onnx_judge.py', file));
    for (const [index, job] of jobs.entries()) {
      verdicts.set(job.name, judged[index]!);
      edited.set(job.name, job.edited);
    }
  });

  it.each(Object.keys(MODELS).flatMap((name) => [name, `${name}-external`]))(
    '%s: onnxruntime computes the logits of the same edit made in NumPy',
    (name) => {
      const { changed, meant, sameGraph, error, effect } = verdicts.get(name)!;
      expect(changed).toEqual(meant);
      expect(sameGraph).toBe(true);
      expect(error).toBeLessThanOrEqual(1e-5);
      expect(effect).toBeGreaterThan(1e-2);
    },
  );

  it.skipIf(!hasRuntime)(`onnxruntime-node computes them too${unlessNoRuntime}`, async () => {
    const runtime: OnnxRuntime = createRequire(join(peers, 'package.json'))('onnxruntime-node');
    for (const [name, { tokens, expected }] of verdicts) {
      const session = await runtime.InferenceSession.create(edited.get(name)!);
      const ids = new runtime.Tensor('int64', BigInt64Array.from(tokens.map(BigInt)), [1, tokens.length]);
      const { logits } = await session.run({ tokens: ids });
      expect(logits.data).toHaveLength(expected.length);
      const error = expected.reduce((most, logit, i) => Math.max(most, Math.abs(logit - logits.data[i]!)), 0);
      expect(error).toBeLessThanOrEqual(1e-5);
      await session.release();
    }
    expect(verdicts.size).toBe(6);
  });

  it('every element type is listed, and read, as Python does', async () => {
    const models = ['types.onnx', 'types-external.onnx'].map((name) => join(folder, 'made', name));
    const listings: Listing[] = JSON.parse(await runPython('onnx_tensors.py', ...models));
    for (const [index, { tensors }] of listings.entries()) {
      const checkpoint = await open(models[index]!);
      const ours = [];
      for (const { name, dtype, shape } of checkpoint.tensors.values()) {
        const sha256 = createHash('sha256')
          .update(await checkpoint.read(name))
          .digest('hex');
        ours.push({ name, type: dtype, shape, sha256 });
      }
      await checkpoint.close();
      expect(ours).toEqual(tensors!.map((tensor) => ({ ...tensor, type: TYPES[tensor.type] })));
      expect(new Set(ours.map(({ type }) => type)).size).toBeGreaterThan(20);
    }
  });

  it('nothing is accepted of the malformed files that Python refuses', async () => {
    const hostile = join(folder, 'hostile');
    await mkdir(hostile);
    const files = corpus.map((_, index) => join(hostile, `${index}.onnx`));
    for (const [index, { bytes }] of corpus.entries()) await writeFile(files[index]!, bytes);
    const listings: Listing[] = JSON.parse(await runPython('onnx_tensors.py', ...files));
    const different = corpus.flatMap(({ name, verdict, stricter }, index) => {
      const accepted = listings[index]!.error === undefined;
      const expected = verdict === 'ok' || stricter === true;
      return accepted === expected ? [] : [`${name}: ${listings[index]!.error ?? 'accepted'}`];
    });
    expect(different).toEqual([]);
  });
});
