import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, rm, statfs } from 'node:fs/promises';
import { freemem, tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { open as openCheckpoint } from '../../lib/checkpoint/open.js';
import { weights, writeModel } from '../support/checkpoints.js';
import { spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';

const at = temporaryPaths();
const GIB = 2 ** 30;
const disk = await statfs(tmpdir());
const room = disk.bavail * disk.bsize > 12 * GIB && freemem() > 6 * GIB;

describe.skipIf(!room)('files and tensors beyond 4 GiB (skipped where the disk or memory is small)', () => {
  it('are copied, edited and read at the right places', async () => {
    // A hole of 4.3 GiB as one tensor, with a small matrix on each side of it; holes take no room
    // in the source.
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
    const run = await spawnLowrank(['laser', path, '-o', out, '--tensor', 'last:0.5', '--json']);
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
    expect((await spawnLowrank(['laser', small, '-o', at('small-out'), '--tensor', 'last:0.5'])).code).toBe(0);
    const reference = await openCheckpoint(at('small-out'));
    const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
    expect(digest(edited)).toBe(digest(await reference.read('last')));
    await reference.close();
    expect(existsSync(out)).toBe(false);
    await rm(path);
  });

  it('a tensor of more than 2 GiB is read completely', async () => {
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
