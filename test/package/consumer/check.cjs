// Checks the package, however it was loaded: exact answers on matrices whose singular values are known.
const { strict: assert } = require('node:assert');

/**
 * @param {typeof import('./entries.mjs')} entries
 * @returns a line to print
 */
module.exports = async function check({ lowrank, adapters, checkpoint, evaluate, search }) {
  const { laser, matrixRank, svd, tensor, LowRankError } = lowrank;
  // diag(4, 3, 2, 1), embedded in 6 x 4.
  const data = new Float32Array(24);
  for (let i = 0; i < 4; i++) data[i * 4 + i] = 4 - i;
  const w = tensor(data, [6, 4]);
  const { s } = await svd(w);
  assert.deepEqual(
    Array.from(s.data, (value) => Math.round(value * 1e5) / 1e5),
    [4, 3, 2, 1],
  );
  assert.equal(await matrixRank(w), 4);
  const { value, certificate } = await laser.certified(w, { rank: 2 });
  assert.equal(certificate.rank, 2);
  // What is discarded is 2 and 1: sqrt(5 / 30).
  assert.ok(Math.abs(certificate.relativeError - Math.sqrt(5 / 30)) < 1e-6, String(certificate.relativeError));
  assert.equal(value.data.length, 24);
  for (const [i, found] of value.data.entries()) {
    const expected = i === 0 ? 4 : i === 5 ? 3 : 0;
    assert.ok(Math.abs(found - expected) < 1e-5, `element ${i}: ${found}`);
  }
  await assert.rejects(laser(w, { rank: 9 }), (error) => error instanceof LowRankError && error.code === 'ERR_ARGUMENT');
  // Whatever the entry, the errors are those of `lowrank`.
  const absent = (/** @type {unknown} */ error) => error instanceof LowRankError && error.code === 'ERR_CHECKPOINT_IO';
  await assert.rejects(checkpoint.openCheckpoint('absent'), absent);
  await assert.rejects(adapters.readAdapter('absent'), absent);
  await assert.rejects(search.readSearchLog('absent'), absent);
  // @ts-expect-error there is no such part
  assert.throws(() => evaluate.splitQuestions([], 'none'), LowRankError);
  return 'checked';
};
