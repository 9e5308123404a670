import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../../lib/checkpoint/safetensors/file.js';
import { openMoments, writeMoments } from '../../../lib/compress/moments.js';
import type { Moments } from '../../../lib/index.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { validGguf } from '../../support/gguf.js';

const f32 = (...numbers: readonly number[]) => new Uint8Array(Float32Array.from(numbers).buffer);

describe('a file of moments', () => {
  it('holds moments of three kinds, and says whose they are', async () => {
    const path = join(temporaryFolder(), 'moments.safetensors');
    const all = new Map<string, Moments>([
      ['q', { kind: 'inputs', second: Float64Array.of(2, 1, 1, 3), mean: Float64Array.of(0.1, -1 / 3), count: 7 }],
      ['down', { kind: 'outputs', second: Float64Array.of(5), mean: Float64Array.of(2) }],
      ['up', { kind: 'diagonal', second: Float64Array.of(1, 2, 3) }],
    ]);
    await writeMoments(path, all, new Map([['k', 'q']]));
    const file = await openMoments(path);
    expect([...file.weights].sort()).toEqual(['down', 'k', 'q', 'up']);
    for (const [weight, moments] of all) expect(await file.read(weight)).toEqual(moments);
    expect(await file.read('k')).toEqual(all.get('q'));
    expect(await file.read('v')).toBeUndefined();
    await file.close();
  });

  it('may hold float32, and whole numbers as counts', async () => {
    const path = join(temporaryFolder(), 'moments.safetensors');
    const tensors = new Map([
      ['w.inputs', { dtype: 'F32', shape: [2, 2], bytes: f32(2, 1, 1, 2) }],
      ['w.count', { dtype: 'I64', shape: [], bytes: new Uint8Array(BigInt64Array.of(12n).buffer) }],
    ] as const);
    await writeSafetensors(path, tensors, new Map([['lowrank', 'moments']]));
    const file = await openMoments(path);
    expect(await file.read('w')).toEqual({ kind: 'inputs', second: Float64Array.of(2, 1, 1, 2), count: 12 });
    await file.close();
  });

  it('is refused where it is none, or has other shapes', async () => {
    const path = (name: string) => join(folder, name);
    const folder = temporaryFolder();
    const write = (name: string, shape: readonly number[], metadata = new Map([['lowrank', 'moments']])) =>
      writeSafetensors(
        path(name),
        new Map([
          ['w.inputs', { dtype: 'F32', shape, bytes: f32(...Array.from({ length: shape[0]! * shape[1]! }, () => 1)) }],
        ]),
        metadata,
      );
    await write('none', [2, 2], new Map());
    expect(await failure(openMoments(path('none')))).toMatchObject({ kind: 'NotMoments' });
    await write('wide', [2, 3]);
    const wide = await openMoments(path('wide'));
    expect(await failure(wide.read('w'))).toMatchObject({ kind: 'NotMoments' });
    await wide.close();
    await write(
      'shared',
      [2, 2],
      new Map([
        ['lowrank', 'moments'],
        ['shared.k', 'missing'],
      ]),
    );
    const shared = await openMoments(path('shared'));
    expect(await failure(shared.read('k'))).toMatchObject({ kind: 'NotMoments' });
    await shared.close();
    await writeFile(path('text'), 'hello');
    expect((await failure(openMoments(path('text')))).code).toBe('ERR_CHECKPOINT_FORMAT');
  });

  it('may be an imatrix of llama.cpp, which has the diagonal', async () => {
    const path = join(temporaryFolder(), 'imatrix.gguf');
    const tensor = (name: string, shape: readonly number[], ...numbers: readonly number[]) => ({
      name,
      shape,
      type: 0,
      bytes: f32(...numbers),
    });
    await writeFile(
      path,
      validGguf(
        [],
        [
          tensor('blk.0.attn_q.weight.in_sum2', [1, 3], 8, 4, 0),
          tensor('blk.0.attn_q.weight.counts', [1, 1], 4),
          tensor('blk.0.ffn_up_exps.weight.in_sum2', [2, 3], 1, 1, 1, 1, 1, 1),
          tensor('blk.0.ffn_up_exps.weight.counts', [2, 1], 4, 4),
        ],
      ),
    );
    const file = await openMoments(path);
    expect([...file.weights]).toEqual(['blk.0.attn_q.weight']);
    expect(await file.read('blk.0.attn_q.weight')).toEqual({
      kind: 'diagonal',
      second: Float64Array.of(2, 1, 0),
      count: 4,
    });
    await file.close();
    await writeFile(path, validGguf([], [tensor('w', [1, 2], 1, 2)]));
    expect(await failure(openMoments(path))).toMatchObject({ kind: 'NotMoments' });
  });
});
