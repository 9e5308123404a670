// Factorizes a 15 x 15 weight matrix that is a product (15 x 4)(4 x 15). It has rank 4, so two factors of
// 120 numbers replace its 225. The layer y = W x + b gives the same result with them: B (A x) + b.

import { strict as assert } from 'node:assert';
import { factorize, matmul, matrixRank, tensor } from 'lowrank';
import { normal } from './random.mjs';

const [size, rank] = [15, 4];
const w = await matmul(tensor(normal(size * rank, 1), [size, rank]), tensor(normal(rank * size, 2), [rank, size]));

const found = await matrixRank(w);
assert.equal(found, rank);
console.log(`W is ${w.shape.join(' x ')}, its rank is ${found}`);

const factors = await factorize(w, { rank: found });
assert.equal(factors.parameters, 120);
console.log(`W holds ${w.data.length} numbers, B and A together ${factors.parameters}`);

const x = tensor(normal(size, 3), [size]);
const bias = normal(size, 4);
const wx = await matmul(w, { data: x.data, shape: [size, 1] });
const y = wx.data.map((value, i) => value + bias[i]);
const yFactors = factors.apply(x).data.map((value, i) => value + bias[i]);
const difference = y.reduce((largest, value, i) => Math.max(largest, Math.abs(value - yFactors[i])), 0);
assert.ok(difference < 1e-4, `they differ by ${difference}`);
console.log(`W x + b and B (A x) + b differ by at most ${difference.toExponential(1)}`);
