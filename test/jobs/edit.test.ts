import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { NewTensor } from '../../lib/checkpoint/safetensors/file.js';
import { editCheckpoint } from '../../lib/edit/edit-checkpoint.js';
import { paperIntervention, parseAt, parseTensorSpec } from '../../lib/interventions/spec.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import { changedTensors, filesIn, readTensor, tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { temporaryPaths } from '../support/folder.js';
import { jacobiSvd, truncate } from '../support/jacobi.js';
import { distance, gaussian, norm } from '../support/matrices.js';

const at = temporaryPaths();

/** The best approximation of rank k, in float64. */
function best(data: ArrayLike<number>, m: number, n: number, k: number): Float64Array {
  return truncate(jacobiSvd(data, m, n), m, n, k);
}

/** Spacing of the numbers of a dtype near 1. */
const EPSILON: Record<FloatDType, number> = { F64: 2 ** -23, F32: 2 ** -23, F16: 2 ** -10, BF16: 2 ** -7 };

describe('editCheckpoint', () => {
  it.each(['F64', 'F32', 'F16', 'BF16'] as const)('writes the best approximation of a matrix of %s', async (dtype) => {
    const source = await writeModel(at(`dtype-${dtype}`), tinyLlama(dtype));
    const out = at(`dtype-${dtype}-out`);
    const name = 'model.layers.1.mlp.gate_proj.weight';
    const report = await editCheckpoint(source, out, { interventions: ['1:fc_in:0.25'] });

    expect(await changedTensors(source, out)).toEqual([name]);
    const [before, after] = [await readTensor(source, name), await readTensor(out, name)];
    expect(after).toMatchObject({ dtype, shape: [24, 16] });
    const expected = best(before.data, 24, 16, 4);
    const scale = norm(before.data);
    // Each number is rounded to its nearest neighbour of the dtype, after a computation in float32.
    expect(distance(after.data, expected) / scale).toBeLessThan(EPSILON[dtype] + 1e-5);

    const [edit] = report.edits;
    expect(report.edits).toHaveLength(1);
    expect(edit).toMatchObject({ tensor: name, layer: 1, type: 'fc_in', rank: 4, rankFraction: 0.25, dtype });
    expect(edit!.relativeError).toBeCloseTo(distance(after.data, before.data) / scale, 6);
    expect(edit!.keptEnergy).toBeCloseTo((norm(expected) / scale) ** 2, 3);
    expect(edit!.certificate?.rank).toBe(4);
    expect(report.memory.predicted.total).toBeGreaterThan(report.memory.predicted.native);
    expect(report.memory.measured.peakRss).toBeGreaterThan(0);
    expect(report).toMatchObject({ source, out, family: 'llama' });
  });

  it('computes tensors side by side, each with the bytes of one alone', async () => {
    const shapes = [
      [260, 220],
      [200, 300],
      [240, 240],
      [64, 96],
      [300, 210],
    ];
    const names = shapes.map((_, i) => `w${i}`);
    const source = await writeModel(
      at('beside'),
      new Map(shapes.map((shape, i) => [names[i]!, weights(shape, 'F32', i)])),
    );
    const intervention = (name: string) => parseTensorSpec(`${name}:0.4`);
    const out = at('beside-out');
    const { edits } = await editCheckpoint(source, out, { interventions: names.map(intervention), threads: 2 });
    expect(edits.map(({ tensor }) => tensor)).toEqual(names);
    expect(await changedTensors(source, out)).toEqual(names);
    for (const [i, name] of names.entries()) {
      const alone = at(`beside-${name}`);
      const report = await editCheckpoint(source, alone, { interventions: [intervention(name)], threads: 2 });
      expect((await readTensor(alone, name)).bytes).toEqual((await readTensor(out, name)).bytes);
      expect(report.edits[0]!.certificate!.excessBound).toBe(edits[i]!.certificate!.excessBound);
    }
  });

  it('throws the error of the first tensor that fails, of several side by side', async () => {
    const bad = (seed: number) => {
      const tensor = weights([64, 64], 'F32', seed);
      new Float32Array(tensor.bytes.buffer, tensor.bytes.byteOffset, 1)[0] = Number.NaN;
      return tensor;
    };
    const tensors = new Map([
      ['a', weights([300, 300])],
      ['b', bad(2)],
      ['c', bad(3)],
    ]);
    const source = await writeModel(at('beside-bad'), tensors);
    const out = at('beside-bad-out');
    const interventions = [...tensors.keys()].map((name) => parseTensorSpec(`${name}:0.5`));
    await expect(editCheckpoint(source, out, { interventions, threads: 2 })).rejects.toThrow(/^b: /);
    expect(await readdir(dirname(out))).not.toContain(basename(out));
  });

  it('keeps all other files as they are', async () => {
    const source = await writeModel(at('files'), tinyLlama());
    const before = await filesIn(source);
    const out = at('files-out');
    await editCheckpoint(source, out, { interventions: ['0:attn:0.5'] });
    expect(await filesIn(source)).toEqual(before);
    const after = await filesIn(out);
    expect([...after.keys()]).toEqual([...before.keys()]);
    for (const name of ['config.json', 'tokenizer.json']) expect(after.get(name)).toEqual(before.get(name));
    expect(await readdir(dirname(out))).not.toContainEqual(expect.stringMatching(/tmp|partial/));
  });

  it('edits an ONNX graph whose weights lie in model.safetensors, or these, and either edit is one of both', async () => {
    const example = fileURLToPath(new URL('../../examples/noisy-recall/model', import.meta.url));
    const interventions = ['1:fc_in:0.01', '0:attn:0.5'];
    const report = await editCheckpoint(join(example, 'model.onnx'), at('graph'), { interventions });
    await editCheckpoint(example, at('weights'), { interventions });
    expect(report.source).toBe(join(example, 'model.onnx'));
    expect(report.edits.map(({ tensor }) => tensor)).toContain('model.transformer.h.1.mlp.c_fc.weight');
    expect(await changedTensors(example, at('graph'))).toHaveLength(3);
    expect(report.untouchedWeights).toEqual([]);
    const [graph, weightFiles] = [await filesIn(at('graph')), await filesIn(at('weights'))];
    expect([...graph.keys()]).toEqual([...weightFiles.keys()]);
    for (const [name, bytes] of graph) expect(bytes.equals(weightFiles.get(name)!), name).toBe(true);
  });

  it('reports other weights in the folder, which do not change', async () => {
    const source = await writeModel(at('several'), tinyLlama());
    const inner = ['onnx/model.onnx', 'pytorch_model-00001-of-00002.bin', 'consolidated.00.pth', 'original.gguf'];
    await mkdir(join(source, 'onnx'));
    for (const name of [...inner, 'training_args.bin']) await writeFile(join(source, name), 'of another program');
    const report = await editCheckpoint(source, at('several-out'), { interventions: ['0:fc_in:0.5'] });
    expect([...report.untouchedWeights].sort()).toEqual([...inner].sort());
    expect(report.entryPoint).toBe(at('several-out'));
  });

  it('composes, each intervention on the original weight', async () => {
    const source = await writeModel(at('compose'), tinyLlama());
    const out = at('compose-out');
    await editCheckpoint(source, out, { interventions: ['0:fc_in:0.5', '0-1:q_proj,v_proj:0.25', '1:fc_out:0.75'] });
    expect((await changedTensors(source, out)).sort()).toEqual([
      'model.layers.0.mlp.gate_proj.weight',
      'model.layers.0.self_attn.q_proj.weight',
      'model.layers.0.self_attn.v_proj.weight',
      'model.layers.1.mlp.down_proj.weight',
      'model.layers.1.self_attn.q_proj.weight',
      'model.layers.1.self_attn.v_proj.weight',
    ]);
    // Alone, an intervention does what it does in company.
    const alone = at('compose-alone');
    await editCheckpoint(source, alone, { interventions: ['1:fc_out:0.75'] });
    const name = 'model.layers.1.mlp.down_proj.weight';
    expect((await readTensor(alone, name)).bytes).toEqual((await readTensor(out, name)).bytes);
  });

  it('gives the same bytes twice', async () => {
    const source = await writeModel(at('twice'), tinyLlama('BF16'), { shards: 2 });
    const options = { interventions: ['all:all:0.3'] };
    await editCheckpoint(source, at('twice-1'), options);
    await editCheckpoint(source, at('twice-2'), options);
    expect(await filesIn(at('twice-1'))).toEqual(await filesIn(at('twice-2')));
  });

  it('edits sharded checkpoints, each tensor in its file', async () => {
    const tensors = tinyLlama();
    const sharded = await writeModel(at('sharded'), tensors, { shards: 3 });
    const single = await writeModel(at('unsharded'), tensors);
    const options = { interventions: ['0:mlp:0.5', '1:attn:0.25'] };
    await editCheckpoint(sharded, at('sharded-out'), options);
    await editCheckpoint(single, at('unsharded-out'), options);
    expect(await changedTensors(at('sharded-out'), at('unsharded-out'))).toEqual([]);
    expect(await changedTensors(sharded, at('sharded-out'))).toHaveLength(7);
    expect([...(await filesIn(at('sharded-out'))).keys()]).toEqual([...(await filesIn(sharded)).keys()]);
  });

  it('keeps the bytes if everything is kept, even numbers beyond float32', async () => {
    const third = new Uint8Array(Float64Array.from({ length: 24 * 16 }, (_, i) => 1 / (3 + i)).buffer);
    const tensors = tinyLlama('F64').set('model.layers.0.mlp.up_proj.weight', {
      dtype: 'F64',
      shape: [24, 16],
      bytes: third,
    });
    const source = await writeModel(at('identity'), tensors);
    const out = at('identity-out');
    const report = await editCheckpoint(source, out, { interventions: ['0:mlp:1', '1:dont:0.5'] });
    expect(await changedTensors(source, out)).toEqual([]);
    expect(report.edits.map(({ rank, relativeError, keptEnergy }) => [rank, relativeError, keptEnergy])).toEqual(
      Array(3).fill([16, 0, 1]),
    );
  });

  it('makes zeros of rank 0', async () => {
    const source = await writeModel(at('zero-rank'), tinyLlama('F16'));
    const out = at('zero-rank-out');
    const interventions = [paperIntervention({ lnum: 0, lname: 'fc_in', rate: 10 }), parseAt('0:fc_up:0')];
    const { edits } = await editCheckpoint(source, out, { interventions });
    for (const { tensor, rank, keptEnergy, relativeError } of edits) {
      expect([rank, keptEnergy, relativeError]).toEqual([0, 0, 1]);
      expect((await readTensor(out, tensor)).bytes.every((byte) => byte === 0)).toBe(true);
    }
    expect(edits).toHaveLength(2);
  });

  it('prunes and zeroes', async () => {
    const source = await writeModel(at('prune'), tinyLlama());
    const out = at('prune-out');
    const interventions = [parseAt('0:fc_in:0.75', 'dropout'), parseAt('1:q_proj', 'zero')];
    const { edits } = await editCheckpoint(source, out, { interventions });
    expect(edits.map(({ intervention, rank }) => [intervention, rank])).toEqual([
      ['dropout', undefined],
      ['zero', undefined],
    ]);
    const before = (await readTensor(source, edits[0]!.tensor)).data;
    const after = (await readTensor(out, edits[0]!.tensor)).data;
    const threshold = [...before].map(Math.abs).sort((a, b) => a - b)[24 * 16 * 0.25]!;
    expect([...after]).toEqual([...before].map((x) => (Math.abs(x) <= threshold ? 0 : x)));
    expect(edits[0]!.relativeError).toBeCloseTo(distance(after, before) / norm(before), 12);
    expect((await readTensor(out, edits[1]!.tensor)).data.every((x) => x === 0)).toBe(true);
  });

  it('prunes without rounding the remaining numbers', async () => {
    const numbers = Float64Array.from({ length: 24 * 16 }, (_, i) => Math.sin(i + 1) / 3);
    const tensors = tinyLlama('F64').set('model.layers.0.mlp.gate_proj.weight', {
      dtype: 'F64',
      shape: [24, 16],
      bytes: new Uint8Array(numbers.buffer),
    });
    const source = await writeModel(at('prune-f64'), tensors);
    const out = at('prune-f64-out');
    await editCheckpoint(source, out, { interventions: [parseAt('0:fc_in:0.5', 'dropout')] });
    const { bytes } = await readTensor(out, 'model.layers.0.mlp.gate_proj.weight');
    const after = new Float64Array(bytes.slice().buffer);
    expect(after.filter((x) => x === 0)).toHaveLength(24 * 8 + 1);
    after.forEach((x, i) => {
      expect(x === 0 || x === numbers[i]).toBe(true);
    });
  });

  it('reports its progress in order', async () => {
    const source = await writeModel(at('progress'), tinyLlama());
    const events: [string, number, number][] = [];
    await editCheckpoint(source, at('progress-out'), {
      interventions: ['0:mlp:0.5'],
      onProgress: ({ phase, done, total, bytesDone, bytesTotal, seconds }) => {
        events.push([phase, done, total]);
        expect(bytesTotal).toBe(3 * 24 * 16 * 4);
        expect(bytesDone).toBeLessThanOrEqual(bytesTotal);
        expect(seconds).toBeGreaterThanOrEqual(0);
      },
    });
    expect(events[0]).toEqual(['copy', 0, 3]);
    expect(events.at(-1)).toEqual(['commit', 3, 3]);
    const counts = events.map(([, done]) => done);
    expect(counts).toEqual([...counts].sort((a, b) => a - b));
    expect(counts).toContain(1);
  });
});

describe('slices of fused tensors', () => {
  /** Two heads of width 4; rows q0 k0 v0 q1 k1 v1 of four each. */
  const neox = { model_type: 'gpt_neox', num_attention_heads: 2, hidden_size: 8 };
  const fused = 'gpt_neox.layers.0.attention.query_key_value.weight';

  it('are edited as the matrix that they are, interleaved by head', async () => {
    const source = await writeModel(at('neox'), new Map([[fused, weights([24, 8], 'F32', 3)]]), { config: neox });
    const out = at('neox-out');
    await editCheckpoint(source, out, { interventions: ['0:k_proj:0.25'] });
    const [before, after] = [(await readTensor(source, fused)).data, (await readTensor(out, fused)).data];
    const keyRows = [4, 5, 6, 7, 16, 17, 18, 19];
    const row = (data: Float32Array, i: number) => [...data.subarray(8 * i, 8 * i + 8)];
    for (let i = 0; i < 24; i++) {
      if (!keyRows.includes(i)) expect(row(after, i)).toEqual(row(before, i));
    }
    const expected = best(
      keyRows.flatMap((i) => row(before, i)),
      8,
      8,
      2,
    );
    expect(
      distance(
        keyRows.flatMap((i) => row(after, i)),
        expected,
      ),
    ).toBeLessThan(1e-5);
  });

  it('are columns in GPT-2, several at once', async () => {
    const name = 'h.0.attn.c_attn.weight';
    const source = await writeModel(at('gpt2'), new Map([[name, weights([8, 24], 'F32', 4)]]), {
      config: { model_type: 'gpt2' },
    });
    const out = at('gpt2-out');
    const { edits } = await editCheckpoint(source, out, { interventions: ['0:v_proj:0.5', '0:q_proj:0.125'] });
    expect(edits.map(({ type, rank, shape }) => [type, rank, shape])).toEqual([
      ['q_proj', 1, [8, 8]],
      ['v_proj', 4, [8, 8]],
    ]);
    const [before, after] = [(await readTensor(source, name)).data, (await readTensor(out, name)).data];
    const columns = (data: Float32Array, start: number) =>
      Array.from({ length: 64 }, (_, i) => data[24 * Math.floor(i / 8) + start + (i % 8)]!);
    expect(distance(columns(after, 0), best(columns(before, 0), 8, 8, 1))).toBeLessThan(1e-5);
    expect(columns(after, 8)).toEqual(columns(before, 8));
    expect(distance(columns(after, 16), best(columns(before, 16), 8, 8, 4))).toBeLessThan(1e-5);
  });

  it('do not change a bit of the rest, even numbers beyond float32', async () => {
    const name = 'h.0.attn.c_attn.weight';
    const bytes = new Uint8Array(Float64Array.from({ length: 8 * 24 }, (_, i) => Math.sin(i) / 3).buffer);
    const source = await writeModel(
      at('gpt2-f64'),
      new Map([[name, { dtype: 'F64', shape: [8, 24], bytes } as NewTensor]]),
      {
        config: { model_type: 'gpt2' },
      },
    );
    const out = at('gpt2-f64-out');
    await editCheckpoint(source, out, { interventions: ['0:q_proj:0.5'] });
    const after = (await readTensor(out, name)).bytes;
    for (let row = 0; row < 8; row++) {
      const [start, end] = [8 * (24 * row + 8), 8 * 24 * (row + 1)];
      expect(after.subarray(start, end)).toEqual(bytes.subarray(start, end));
    }
    expect(after).not.toEqual(bytes);
  });
});

describe('batches', () => {
  it('are edited matrix by matrix', async () => {
    const source = await writeModel(at('batch'), new Map([['experts.w', weights([3, 6, 8], 'F32', 5)]]), {
      config: {},
    });
    const out = at('batch-out');
    const { edits } = await editCheckpoint(source, out, { interventions: [parseTensorSpec('experts.*:0.5')] });
    expect(edits[0]).toMatchObject({ shape: [3, 6, 8], rank: 3, layer: undefined, type: undefined });
    expect(edits[0]!.certificates).toHaveLength(3);
    const [before, after] = [(await readTensor(source, 'experts.w')).data, (await readTensor(out, 'experts.w')).data];
    for (let i = 0; i < 3; i++) {
      const own = (data: Float32Array) => data.subarray(48 * i, 48 * (i + 1));
      expect(distance(own(after), best(own(before), 6, 8, 3))).toBeLessThan(1e-5);
    }
  });

  it('have their slices in each matrix', async () => {
    const name = 'model.layers.0.mlp.experts.gate_up_proj';
    const source = await writeModel(at('experts'), new Map([[name, weights([2, 12, 8], 'BF16', 6)]]), {
      config: { model_type: 'mixtral' },
    });
    const out = at('experts-out');
    const { edits } = await editCheckpoint(source, out, { interventions: ['0:fc_up:0.5'] });
    expect(edits[0]).toMatchObject({ shape: [2, 6, 8], rank: 3 });
    const [before, after] = [(await readTensor(source, name)).data, (await readTensor(out, name)).data];
    for (let i = 0; i < 2; i++) {
      const gate = (data: Float32Array) => [...data.subarray(96 * i, 96 * i + 48)];
      const up = (data: Float32Array) => data.subarray(96 * i + 48, 96 * (i + 1));
      expect(gate(after)).toEqual(gate(before));
      expect(distance(up(after), best(up(before), 6, 8, 3)) / norm(up(before))).toBeLessThan(EPSILON.BF16);
    }
  });

  it('prune each matrix by itself', async () => {
    const large = gaussian([4, 4], 7).data.map((x) => 100 * x);
    const small = gaussian([4, 4], 8).data;
    const bytes = new Uint8Array(Float32Array.of(...large, ...small).buffer);
    const source = await writeModel(
      at('prune-batch'),
      new Map([['w', { dtype: 'F32', shape: [2, 4, 4], bytes } as NewTensor]]),
      {
        config: {},
      },
    );
    await editCheckpoint(source, at('prune-batch-out'), { interventions: [parseTensorSpec('w:0.5', 'dropout')] });
    const { data } = await readTensor(at('prune-batch-out'), 'w');
    const zeros = (part: Float32Array) => part.filter((x) => x === 0).length;
    expect([zeros(data.subarray(0, 16)), zeros(data.subarray(16))]).toEqual([9, 9]);
  });
});

describe('failures', () => {
  const expectNothing = async (out: string) => {
    expect(await readdir(dirname(out))).not.toContainEqual(expect.stringContaining(basename(out)));
  };

  it('name the tensor with a NaN, and leave nothing behind', async () => {
    const broken = weights([24, 16]);
    new DataView(broken.bytes.buffer, broken.bytes.byteOffset).setFloat32(4 * (3 * 16 + 5), Number.NaN, true);
    const name = 'model.layers.1.mlp.gate_proj.weight';
    const source = await writeModel(at('nan'), tinyLlama().set(name, broken));
    const out = at('nan-out');
    for (const kind of ['rank-reduction', 'dropout'] as const) {
      const edit = editCheckpoint(source, out, { interventions: [parseAt('all:fc_in:0.5', kind)] });
      const place = kind === 'dropout' ? 'at [3, 5]' : 'at row 3, column 5';
      const message = `${name}: the matrix holds NaN ${place}`;
      await expect(edit).rejects.toMatchObject({ code: 'ERR_NOT_FINITE', message, hint: expect.any(String) });
      await expectNothing(out);
    }
  });

  it('refuse a result that overflows the dtype', async () => {
    // All but one number lie at float16's end; the best approximation of rank 1 goes beyond it.
    const largest = 65504;
    const data = new Float32Array(64).fill(largest);
    data[0] = -largest;
    data[9] = -largest;
    const { bytes } = weights([8, 8], 'F16');
    const half = new DataView(bytes.buffer, bytes.byteOffset);
    data.forEach((x, i) => {
      half.setUint16(2 * i, x < 0 ? 0xfbff : 0x7bff, true);
    });
    const best1 = best(data, 8, 8, 1);
    expect(Math.max(...best1)).toBeGreaterThan(65520);
    const source = await writeModel(
      at('overflow'),
      new Map([['w', { dtype: 'F16', shape: [8, 8], bytes } as NewTensor]]),
      {
        config: {},
      },
    );
    const out = at('overflow-out');
    const edit = editCheckpoint(source, out, { interventions: [parseTensorSpec('w:0.125')] });
    await expect(edit).rejects.toMatchObject({ code: 'ERR_NOT_FINITE', message: expect.stringContaining('w: ') });
    await expectNothing(out);
  });

  it('stop at an abort, before and between tensors', async () => {
    const source = await writeModel(at('abort'), tinyLlama());
    const out = at('abort-out');
    const reason = new Error('enough');
    const early = editCheckpoint(source, out, { interventions: ['0:mlp:0.5'], signal: AbortSignal.abort(reason) });
    await expect(early).rejects.toBe(reason);

    const controller = new AbortController();
    const late = editCheckpoint(source, out, {
      interventions: ['all:all:0.5'],
      signal: controller.signal,
      onProgress: ({ done }) => {
        if (done === 2) controller.abort(reason);
      },
    });
    await expect(late).rejects.toBe(reason);
    // What was done stays, and only that: the same job goes on with it.
    const left = (await readdir(dirname(out))).filter((name) => name.includes(basename(out)));
    expect(left).toEqual([`.${basename(out)}.lowrank`]);
    const { resumed } = await editCheckpoint(source, out, { interventions: ['all:all:0.5'] });
    expect(resumed!.tensors).toBeGreaterThanOrEqual(1);
    expect(resumed!.tensors).toBeLessThan(14);
    await editCheckpoint(source, at('abort-undisturbed'), { interventions: ['all:all:0.5'] });
    expect(await filesIn(out)).toEqual(await filesIn(at('abort-undisturbed')));
  });

  it('refuse an output that is there, or that is the source', async () => {
    const source = await writeModel(at('there'), tinyLlama());
    const before = await filesIn(source);
    const options = { interventions: ['0:mlp:0.5'] };
    await expect(editCheckpoint(source, source, options)).rejects.toMatchObject({ code: 'ERR_OUTPUT' });
    const other = await writeModel(at('there-too'), tinyLlama());
    await expect(editCheckpoint(source, other, options)).rejects.toMatchObject({ code: 'ERR_OUTPUT' });
    expect(await filesIn(source)).toEqual(before);
  });
});
