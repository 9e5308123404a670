// The first notebook of hkproj/pytorch-lora, line by line, with PyTorch's lines above each: the singular
// value decomposition turns a 10 x 10 weight of rank 2 into factors B and A with 40 parameters instead
// of 100, and y = W x + bias stays the same.

import { strict as assert } from 'node:assert';
import { diag, matmul, matrixRank, randn, svd } from 'lowrank';

// d, k = 10, 10; W_rank = 2
const [d, k] = [10, 10];

// W = torch.randn(d, W_rank) @ torch.randn(W_rank, k)
const W = await matmul(randn([d, 2], { seed: 5 }), randn([2, k], { seed: 6 }));
console.log(W);

// W_rank = np.linalg.matrix_rank(W)
const rank = await matrixRank(W);
console.log(`rank of W: ${rank}`);
assert.equal(rank, 2);

// U, S, V = torch.svd(W)
const { u: U, s: S, vt: Vt } = await svd(W);

// U_r = U[:, :W_rank]; S_r = torch.diag(S[:W_rank]); V_r = V[:, :W_rank].t()
const Ur = U.slice(null, [0, rank]);
const Sr = diag(S.slice([0, rank]));
const Vr = Vt.slice([0, rank]);

// B = U_r @ S_r; A = V_r
const B = await matmul(Ur, Sr);
const A = Vr;
console.log(`B is ${B.shape.join(' x ')}, A is ${A.shape.join(' x ')}`);
assert.deepEqual(B.shape, [10, 2]);
assert.deepEqual(A.shape, [2, 10]);

// bias = torch.randn(d); x = torch.randn(d)
const bias = randn([d], { seed: 8 });
const x = randn([d], { seed: 7 });

// y = W @ x + bias; y_prime = (B @ A) @ x + bias
const y = (await matmul(W, x)).add(bias);
const yPrime = (await matmul(await matmul(B, A), x)).add(bias);
console.log(y);
console.log(yPrime);
assert.ok(y.allClose(yPrime, { atol: 1e-4 }));

// W.nelement(), B.nelement() + A.nelement()
console.log(`${W.data.length} parameters before, ${B.data.length + A.data.length} after`);
assert.equal(B.data.length + A.data.length, 40);
