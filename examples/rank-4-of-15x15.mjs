// A notebook on rank and low-rank factors, line by line, with PyTorch's and NumPy's lines above each: a
// 15 x 15 weight of rank 4 as two factors of 120 numbers instead of 225, with which the layer
// y = W x + b computes the same. One call, factorize(), does it all.

import { strict as assert } from 'node:assert';
import { diag, factorize, matmul, matrixRank, randn, svd, tensor } from 'lowrank';

// M = np.array([[2, 0, 0], [1, 2, 3]]); np.linalg.matrix_rank(M)
const M = tensor([
  [2, 0, 0],
  [1, 2, 3],
]);
console.log(M);
assert.equal(await matrixRank(M), 2);

// W = torch.randn(15, 4) @ torch.randn(4, 15); W.shape
const W = await matmul(randn([15, 4], { seed: 1 }), randn([4, 15], { seed: 2 }));
console.log(W);

// rank = np.linalg.matrix_rank(W)
const rank = await matrixRank(W);
assert.equal(rank, 4);
console.log(`W is ${W.shape.join(' x ')}, its rank is ${rank}`);

// U, S, V = torch.svd(W)
const { u: U, s: S, vt: Vt } = await svd(W); // V transposed, as torch.linalg.svd returns it
console.log(S);

// B = U[:, :rank] @ torch.diag(S[:rank]); A = V[:, :rank].t(); W_lr = B @ A
const B = await matmul(U.slice(null, [0, rank]), diag(S.slice([0, rank])));
const A = Vt.slice([0, rank]);
const Wlr = await matmul(B, A);
assert.deepEqual(
  [B.shape, A.shape],
  [
    [15, 4],
    [4, 15],
  ],
);

// W.nelement(), B.nelement() + A.nelement()
console.log(`W holds ${W.data.length} numbers, B and A together ${B.data.length + A.data.length}`);
assert.equal(B.data.length + A.data.length, 120);

// x = torch.randn(15); b = torch.randn(15)
const x = randn([15], { seed: 3 });
const b = randn([15], { seed: 4 });

// y = W @ x + b; y_lr = W_lr @ x + b; torch.allclose(y, y_lr, atol=1e-4)
const y = (await matmul(W, x)).add(b);
const yLr = (await matmul(Wlr, x)).add(b);
console.log(y);
assert.ok(y.allClose(yLr, { atol: 1e-4 }));

// The same in one call, with measured errors:
const factors = await factorize(W, { rank });
console.log(factors);
assert.equal(factors.parameters, 120);
assert.ok(factors.apply(x).add(b).allClose(y, { atol: 1e-4 })); // B (A x), without forming W
