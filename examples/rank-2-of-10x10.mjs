// Factorizes a 10 x 10 matrix of rank 2: the singular value decomposition gives factors B = U diag(s),
// 10 x 2, and A = Vt, 2 x 10, with 40 parameters instead of 100.

import { strict as assert } from 'node:assert';
import { factorize, matmul, matrixRank, svd, tensor } from 'lowrank';
import { normal } from './random.mjs';

const [size, rank] = [10, 2];
const w = await matmul(tensor(normal(size * rank, 5), [size, rank]), tensor(normal(rank * size, 6), [rank, size]));

const { s } = await svd(w);
const found = await matrixRank(w);
assert.equal(found, rank);
console.log(`singular values ${Array.from(s.data.subarray(0, 4), (value) => value.toPrecision(3)).join(', ')}, ...`);
console.log(`W is ${w.shape.join(' x ')}, its rank is ${found}`);

const factors = await factorize(w, { rank: found });
assert.deepEqual(factors.b.shape, [10, 2]);
assert.deepEqual(factors.a.shape, [2, 10]);
assert.equal(factors.parameters, 40);
console.log(`B is ${factors.b.shape.join(' x ')}, A is ${factors.a.shape.join(' x ')}`);
console.log(`${w.data.length} parameters before, ${factors.parameters} after`);

const x = tensor(normal(size, 7), [size]);
const bias = normal(size, 8);
const wx = await matmul(w, { data: x.data, shape: [size, 1] });
const y = wx.data.map((value, i) => value + bias[i]);
const yFactors = factors.apply(x).data.map((value, i) => value + bias[i]);
const difference = y.reduce((largest, value, i) => Math.max(largest, Math.abs(value - yFactors[i])), 0);
assert.ok(difference < 1e-4, `they differ by ${difference}`);
console.log(`W x + b and B (A x) + b differ by at most ${difference.toExponential(1)}`);
