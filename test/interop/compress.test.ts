import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { calibrate } from '../../lib/compress/calibrate.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { openMoments } from '../../lib/compress/moments.js';
import { temporaryFolder } from '../support/folder.js';
import { distance } from '../support/matrices.js';
import { mlpWithInputs } from '../support/mlp-inputs.js';
import { mlp } from '../support/onnx-mlp.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';
import { rankOf } from '../support/ranks.js';
import { python, runPython, unlessNoPython } from './python.js';

describe.skipIf(!python || !hasPeers)(`compressed models${unlessNoPython}${unlessNoPeers}`, () => {
  const cases = (['pivoted', 'factors'] as const).flatMap((storage) =>
    [0.9, 0.5].flatMap((keep) => [false, true].map((shared) => ({ storage, keep, shared }))),
  );

  it.each(cases)('run in onnxruntime as NumPy multiplies them out: %o', async ({ storage, keep, shared }) => {
    const { source, inputs, moments, path } = await mlpWithInputs(mlp({ shared }));
    await calibrate(source, moments, { inputs, peers });
    const report = await compressCheckpoint(source, path('out.onnx'), { keep, calibration: moments, storage });
    expect(report.layers.some((layer) => rankOf(layer) !== undefined)).toBe(true);
    const verdict = JSON.parse(await runPython('compress_judge.py', source, path('out.onnx'), inputs)) as {
      difference: number;
      loss: number;
      operators: string[];
    };
    expect(verdict.difference).toBeLessThan(1e-4);
    expect(verdict.loss).toBeLessThan(keep === 0.9 ? 0.05 : 0.6);
    // All constant nodes are gone once the model is loaded.
    expect(new Set(verdict.operators)).toEqual(
      new Set(verdict.operators.filter((op) => /MatMul|Gemm|Add|Relu/.test(op))),
    );
  });
});

describe.skipIf(!python)(`the program of docs/calibration.md${unlessNoPython}`, () => {
  it('writes moments that are read here', async () => {
    const out = join(temporaryFolder(), 'moments.safetensors');
    const expected = JSON.parse(await runPython('compress_torch.py', out)) as { second: number[]; mean: number[] };
    const file = await openMoments(out);
    expect([...file.weights].sort()).toEqual(['down.weight', 'k.weight', 'q.weight']);
    const moments = (await file.read('q.weight'))!;
    expect(distance(moments.second, expected.second)).toBeLessThan(1e-10);
    expect(distance(moments.mean!, expected.mean)).toBeLessThan(1e-12);
    expect(moments.count).toBe(14);
    expect(await file.read('k.weight')).toEqual(moments);
    await file.close();
  });
});
