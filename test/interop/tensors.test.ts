import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { eye, laserSync, randn, type Tensor, tensor, zeros } from '../../lib/index.js';
import { temporaryPaths } from '../support/folder.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';
import { python, runPython, unlessNoPython } from './python.js';

const at = temporaryPaths();

describe.skipIf(!python)(`printed tensors${unlessNoPython}`, () => {
  it('have the numbers, signs, gaps and line breaks of NumPy', async () => {
    const scaled = (shape: number[], exponent: number) => randn(shape, { seed: exponent + 50 }).mul(10 ** exponent);
    const printed: (readonly [Tensor, number])[] = [
      ...[-7, -3, 0, 2, 6, 9].flatMap((exponent) =>
        [[5], [3, 4], [2, 3, 2], [40], [2, 30], [1, 1, 1, 2]].map((shape) => [scaled(shape, exponent), 75] as const),
      ),
      [randn([300, 200]), 75],
      [randn([7, 8, 30]), 75],
      [randn([2000]), 75],
      [randn([4, 50]), 40],
      [eye(3), 75],
      [zeros([2, 0]), 75],
      [tensor([5]).reshape([]), 75],
      [tensor([1, Number.NaN, Number.NEGATIVE_INFINITY, -0.5]), 75],
      [tensor([Number.NaN, Number.POSITIVE_INFINITY]), 75],
      [
        tensor([
          [-0, 1e-3],
          [0.25, 100],
        ]),
        75,
      ],
      [tensor([1e8, 1, 2.5]), 75],
    ];
    const text = (value: number) => (Object.is(value, -0) ? '-0' : String(value));
    const asked = printed.map(([{ data, shape }, width]) => ({ data: Array.from(data, text), shape, width }));
    await writeFile(at('arrays.json'), JSON.stringify(asked).replaceAll('Infinity', 'inf'));
    const expected = JSON.parse(await runPython('print_numbers.py', at('arrays.json'))) as string[];
    for (const [i, [value, width]] of printed.entries()) {
      const [, ...lines] = inspect(value, { breakLength: width }).split('\n');
      expect(lines.join('\n')).toBe(expected[i]);
    }
  });
});

describe.skipIf(!hasPeers)(`tensors of other libraries${unlessNoPeers}`, () => {
  it('come from onnxruntime and transformers.js, and go back', async () => {
    const load = createRequire(join(peers, 'package.json'));
    const ort = load('onnxruntime-node');
    const { Tensor: Foreign } = await import(load.resolve('@huggingface/transformers'));
    const w = randn([6, 4]);
    const cut = laserSync(w, { rank: 2 });
    for (const make of [ort.Tensor, Foreign]) {
      const given = new make('float32', w.data, w.shape);
      expect(laserSync(given, { rank: 2 }).data).toEqual(cut.data);
      expect(tensor(given).data).toBe(w.data);
      expect(Array.from(new make('float32', cut.data, cut.shape).dims)).toEqual([6, 4]);
      expect(tensor(new make('float64', Float64Array.from(w.data), [6, 4])).data).toEqual(w.data);
    }
    // 1, -2 and a third, rounded to eleven bits.
    const half = tensor(new ort.Tensor('float16', Uint16Array.of(0x3c00, 0xc000, 0x3555), [3]));
    expect(half.allClose(tensor([1, -2, 1 / 3]), { rtol: 2 ** -11 })).toBe(true);
    expect(() => tensor(new ort.Tensor('int64', BigInt64Array.of(1n), [1]))).toThrow('data');
  });
});
