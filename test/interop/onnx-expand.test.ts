import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { open } from '../../lib/checkpoint/open.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { expandCheckpoint } from '../../lib/compress/expand.js';
import { temporaryFolder } from '../support/folder.js';
import { python, runPython, unlessNoPython } from './python.js';

/** What `expand_judge.py` writes, explained there. */
interface Verdict {
  readonly difference: number;
  readonly sizes: boolean;
  readonly constants: readonly string[];
  readonly operators: boolean;
  readonly unchanged: readonly string[];
}

describe.skipIf(!python)(`ONNX models whose factors are multiplied out${unlessNoPython}`, () => {
  const folder = temporaryFolder();
  const at = (...path: string[]) => join(folder, ...path);

  beforeAll(() => runPython('onnx_layers.py', at('models')), 120_000);

  /** Compresses and expands a model, and has onnx and onnxruntime judge the result. */
  async function expanded(name: string, storage: 'pivoted' | 'factors', keep: number) {
    const source = at('models', name, 'model.onnx');
    const external = name.startsWith('external');
    const out = (what: string) => at(`${name}-${storage}-${keep}-${what}${external ? '' : '.onnx'}`);
    const file = (path: string) => (external ? join(path, 'model.onnx') : path);
    const [smaller, dense] = [out('smaller'), out('dense')];
    await compressCheckpoint(source, smaller, { keep, uncalibrated: true, storage });
    const { layers } = await expandCheckpoint(file(smaller), dense);
    const inputs = at('models', name, 'inputs.safetensors');
    const verdict = JSON.parse(
      await runPython('expand_judge.py', source, file(smaller), file(dense), inputs),
    ) as Verdict;
    return { layers, verdict, source, result: file(dense) };
  }

  const MODELS = ['opset-7', 'opset-9', 'opset-13', 'opset-23', 'transposed', 'fused', 'square', 'branches'];
  it.each([...MODELS, 'external', 'external-files', 'external-transposed', 'external-branches'])(
    'are the original but for its weights: %s',
    async (name) => {
      const budgets = [
        ['factors', 0.6],
        // Below and above the rank from which on the product is cheaper than the factors.
        ['pivoted', 0.5],
        ['pivoted', 0.9],
      ] as const;
      for (const [storage, keep] of budgets.slice(0, name === 'opset-7' ? 1 : 3)) {
        const { layers, verdict, source, result } = await expanded(name, storage, keep);
        expect(layers.length).toBeGreaterThan(0);
        expect(verdict).toMatchObject({ sizes: true, constants: [], operators: true });
        expect(verdict.difference).toBeLessThan(1e-5);
        const [before, after] = [await open(source), await open(result)];
        for (const [tensor, info] of before.tensors) {
          expect(after.tensors.get(tensor)).toMatchObject({ shape: info.shape, dtype: info.dtype });
          expect(after.tensors.get(tensor)?.orientation).toBe(info.orientation);
          const isLayer = layers.some((layer) => layer.name === tensor);
          expect(verdict.unchanged.includes(tensor)).toBe(!isLayer);
        }
        await Promise.all([before.close(), after.close()]);
      }
    },
    120_000,
  );

  it('are the original but for its weights and an Identity: shared', async () => {
    const { verdict } = await expanded('shared', 'pivoted', 0.4);
    expect(verdict).toMatchObject({ sizes: true, constants: [], operators: true });
    expect(verdict.difference).toBeLessThan(1e-5);
  });

  it('are so in float16', async () => {
    const { verdict } = await expanded('float16', 'pivoted', 0.5);
    expect(verdict).toMatchObject({ sizes: true, constants: [], operators: true });
    expect(verdict.difference).toBeLessThan(0.01);
  });
});
