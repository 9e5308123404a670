import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, readdir, rm, statfs } from 'node:fs/promises';
import { freemem } from 'node:os';
import { beforeAll, describe, expect, it } from 'vitest';
import { open as openCheckpoint } from '../../lib/checkpoint/open.js';
import { changedTensors, lowrank, temporaryFolder, weights, writeModel } from './support.js';

const at = temporaryFolder();
const N = 1200;
let source: string;

beforeAll(async () => {
  const names = Array.from({ length: 8 }, (_, i) => `w${i}`);
  source = await writeModel(at('source'), new Map(names.map((name, i) => [name, weights([N, N], 'F32', i + 1)])), {
    config: {},
  });
});

const laser = (out: string, ...more: string[]) =>
  lowrank(['laser', source, '-o', out, '--tensor', 'w*:0.1', '--json', ...more]);

describe('memory', () => {
  it.each(['auto', 'exact', 'gram'])('is predicted from above, and not by far, with %s', async (method) => {
    const run = await laser(at(`predicted-${method}`), '--method', method);
    expect(run.code).toBe(0);
    const { memory } = JSON.parse(run.stdout);
    expect(memory.measured.peakRss).toBeLessThanOrEqual(memory.predicted.total);
    expect(memory.measured.peakRss).toBeGreaterThan(memory.predicted.total / 3);
    expect(memory.measured.nativePeak).toBeLessThanOrEqual(memory.predicted.native);
  });

  it('is kept within what is allowed, or the job is refused before it begins', async () => {
    const refused = await laser(at('refused'), '--memory', '1MB');
    expect(refused.code).toBe(1);
    const { error } = JSON.parse(refused.stdout);
    expect(error.code).toBe('ERR_MEMORY');
    expect(error.message).toMatch(/^w\d: needs \d+ bytes of memory, allowed are 1000000$/);
    expect(error.hint).toMatch(/^Allow at least \d+ MB/);
    expect((await readdir(at())).filter((name) => name.includes('refused'))).toEqual([]);

    const needed = Number(/needs (\d+) bytes/.exec(error.message)![1]) + 16e6;
    const run = await laser(at('tight'), '--memory', `${needed}`);
    expect(run.code).toBe(0);
    expect(JSON.parse(run.stdout).memory.measured.peakRss).toBeLessThanOrEqual(needed);
    expect(await changedTensors(source, at('tight'))).toHaveLength(8);
  });

  it('changes no byte when there is plenty', async () => {
    expect((await laser(at('plenty'), '--memory', '64GB')).code).toBe(0);
    expect((await laser(at('unlimited'))).code).toBe(0);
    expect(await changedTensors(at('plenty'), at('unlimited'))).toEqual([]);
  });
});

const GIB = 2 ** 30;
const disk = await statfs('/tmp');
const room = disk.bavail * disk.bsize > 12 * GIB && freemem() > 6 * GIB;

describe.skipIf(!room)('files and tensors beyond 4 GiB (skipped where the disk or memory is small)', () => {
  it('are copied, edited and read at the right places', async () => {
    // A hole of 4.3 GiB as one tensor, with a small matrix on each side of it; holes take no room in the source.
    const hole = Math.ceil(4.3 * GIB);
    const [first, last] = [weights([16, 8], 'F32', 7).bytes, weights([16, 8], 'F32', 8).bytes];
    const header = Buffer.from(
      JSON.stringify({
        first: { dtype: 'F32', shape: [16, 8], data_offsets: [0, 512] },
        hole: { dtype: 'U8', shape: [hole], data_offsets: [512, 512 + hole] },
        last: { dtype: 'F32', shape: [16, 8], data_offsets: [512 + hole, 1024 + hole] },
      }).padEnd(256),
    );
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const path = at('sparse.safetensors');
    const handle = await open(path, 'w');
    await handle.write(Buffer.concat([length, header, first]), 0, undefined, 0);
    await handle.write(last, 0, undefined, 8 + header.length + 512 + hole);
    await handle.close();

    const out = at('sparse-out.safetensors');
    const run = await lowrank(['laser', path, '-o', out, '--tensor', 'last:0.5', '--json']);
    expect(run.stderr).not.toContain('error');
    const { edits, memory } = JSON.parse(run.stdout);
    expect(edits).toHaveLength(1);
    expect(memory.measured.peakRss).toBeLessThan(300e6);
    const [before, after] = [await openCheckpoint(path), await openCheckpoint(out)];
    const places = ({ tensors }: typeof before) =>
      [...tensors.values()].map(({ name, offset, bytes }) => [name, offset, bytes]);
    expect(places(after)).toEqual(places(before));
    expect(Buffer.compare(await after.read('first'), first)).toBe(0);
    const edited = await after.read('last');
    expect(Buffer.compare(edited, last)).not.toBe(0);
    await Promise.all([before.close(), after.close()]);
    await rm(out);

    // The same matrix in a small file gives the same bytes.
    const small = await writeModel(at('small'), new Map([['last', { dtype: 'F32', shape: [16, 8], bytes: last }]]), {
      config: {},
    });
    expect((await lowrank(['laser', small, '-o', at('small-out'), '--tensor', 'last:0.5'])).code).toBe(0);
    const reference = await openCheckpoint(at('small-out'));
    const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
    expect(digest(edited)).toBe(digest(await reference.read('last')));
    await reference.close();
    expect(existsSync(out)).toBe(false);
    await rm(path);
  }, 600_000);

  it('a tensor of more than 2 GiB is read whole', async () => {
    const path = at('wide.safetensors');
    const bytes = 2 ** 31 + 4096;
    const header = Buffer.from(JSON.stringify({ wide: { dtype: 'U8', shape: [bytes], data_offsets: [0, bytes] } }));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const handle = await open(path, 'w');
    await handle.write(Buffer.concat([length, header]), 0, undefined, 0);
    await handle.write(Buffer.from('end'), 0, 3, 8 + header.length + bytes - 3);
    await handle.close();
    const checkpoint = await openCheckpoint(path);
    const wide = await checkpoint.read('wide');
    await checkpoint.close();
    expect(wide).toHaveLength(bytes);
    expect(Buffer.from(wide.subarray(-4)).toString('latin1')).toBe('\0end');
    await rm(path);
  });
});
