// Preloaded into a job (node --import): every file system reports FREE_BYTES as free or, with
// FREE_BYTES=unknown, cannot report its free space.
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

// @ts-expect-error stands in for all signatures of statfs
fs.statfs = async () => {
  if (process.env.FREE_BYTES === 'unknown') throw Object.assign(new Error('ENOSYS'), { code: 'ENOSYS' });
  const free = BigInt(process.env.FREE_BYTES ?? 0);
  return { type: 0n, bsize: 1n, blocks: 2n ** 50n, bfree: free, bavail: free, files: 0n, ffree: 0n };
};
syncBuiltinESMExports();
