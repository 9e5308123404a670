import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../lib/checkpoint/checkpoint.js';
import { copyForEdit } from '../../../lib/checkpoint/copy/copy-for-edit.js';
import { open } from '../../../lib/checkpoint/open.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { KILLED } from '../../support/killed.js';
import { fill, made } from '../../support/safetensors.js';

const two = (...names: [string, string]) =>
  made(
    {
      __metadata__: { format: 'pt', note: 'kept' },
      [names[0]]: { dtype: 'U8', shape: [3], data_offsets: [0, 3] },
      [names[1]]: { dtype: 'U8', shape: [4], data_offsets: [3, 7] },
    },
    'aaabbbb',
  );
const A = 'model-00001-of-00002.safetensors';
const B = 'model-00002-of-00002.safetensors';
const posix = process.platform !== 'win32';

/** A sharded model with other files, in a folder of its own. */
async function source(): Promise<{ root: string; folder: string; out: string; checkpoint: Checkpoint }> {
  const root = temporaryFolder();
  const folder = join(root, 'in');
  await mkdir(join(folder, 'onnx', 'deep'), { recursive: true });
  await fill(folder, {
    [A]: two('a', 'b'),
    [B]: two('c', 'd'),
    'model.safetensors.index.json': JSON.stringify({ weight_map: { a: A, b: A, c: B, d: B } }),
    'config.json': '{"model_type":"gpt2"}',
    '.gitattributes': '*.safetensors filter=lfs',
    'onnx/deep/tokenizer.json': '{}',
  });
  for (const name of ['.git', '.cache', 'onnx/.git', '.edited.lowrank']) {
    await mkdir(join(folder, name));
    await writeFile(join(folder, name, 'x'), 'x');
  }
  return { root, folder, out: join(root, 'out'), checkpoint: await open(folder) };
}

/** All files below a folder and what they hold. */
async function contents(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const path = join(folder, name);
    if ((await stat(path)).isFile()) found[name] = await readFile(path, 'latin1');
  }
  return found;
}

describe('copyForEdit', () => {
  it('changes the bytes of the tensors given, and nothing else', async () => {
    const { root, folder, out, checkpoint } = await source();
    const before = await contents(folder);
    const writer = await copyForEdit(checkpoint, out);
    await writer.write('b', Buffer.from('BBBB'));
    await Promise.all([writer.write('c', Buffer.from('CCC')), writer.write('a', Buffer.from('AAA'))]);

    const [temporary, ...others] = (await readdir(root)).filter((name) => name !== 'in');
    expect(others).toEqual([]);
    expect(temporary).toBe('.out.lowrank');

    await writer.commit();
    expect((await readdir(root)).sort()).toEqual(['in', 'out']);
    expect(await contents(folder)).toEqual(before);
    const expected = Object.fromEntries(
      Object.entries(before).filter(([name]) => !/(\.git|\.cache|\.lowrank)[\\/]x$/.test(name)),
    );
    expected[A] = expected[A]!.replace('aaabbbb', 'AAABBBB');
    expected[B] = expected[B]!.replace('aaabbbb', 'CCCbbbb');
    expect(await contents(out)).toEqual(expected);
    expect(Object.keys(expected)).toContain('.gitattributes');
    expect(Object.keys(expected)).toContain(join('onnx', 'deep', 'tokenizer.json'));

    const copy = await open(out);
    expect([...copy.tensors]).toEqual([...checkpoint.tensors]);
    await copy.close();
    await checkpoint.close();
  });

  it('leaves nothing when discarded, and nothing changes after commit', async () => {
    const { root, out, checkpoint } = await source();
    const dropped = await copyForEdit(checkpoint, out);
    await dropped.write('a', Buffer.from('AAA'));
    await dropped.discard();
    await dropped.discard();
    expect(await readdir(root)).toEqual(['in']);
    expect(await failure(dropped.write('a', Buffer.from('AAA')))).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(await failure(dropped.commit())).toMatchObject({ code: 'ERR_ARGUMENT' });

    const kept = await copyForEdit(checkpoint, out);
    await kept.commit();
    await kept.discard();
    expect(await failure(kept.write('a', Buffer.from('AAA')))).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect((await readdir(root)).sort()).toEqual(['in', 'out']);
    await checkpoint.close();
  });

  it('commits after writes that nobody waited for', async () => {
    const { out, checkpoint } = await source();
    const writer = await copyForEdit(checkpoint, out);
    const write = writer.write('a', Buffer.from('AAA'));
    await writer.commit();
    await write;
    expect(await readFile(join(out, A), 'latin1')).toContain('AAAbbbb');
    await checkpoint.close();
  });

  it('refuses missing tensors and bytes that do not fit, and continues', async () => {
    const { out, checkpoint } = await source();
    const writer = await copyForEdit(checkpoint, out);
    expect(await failure(writer.write('z', Buffer.from('AAA')))).toMatchObject({ code: 'ERR_NOT_FOUND' });
    expect(await failure(writer.write('a', Buffer.from('AAAA')))).toMatchObject({ code: 'ERR_SHAPE' });
    expect(await failure(writer.write('a', Buffer.from('AA')))).toMatchObject({ code: 'ERR_SHAPE' });
    await writer.write('a', Buffer.from('AAA'));
    await writer.commit();
    expect(await readFile(join(out, A), 'latin1')).toContain('AAAbbbb');
    await checkpoint.close();
  });

  it('refuses an output that is taken, or overlaps with the input', async () => {
    const { root, folder, out, checkpoint } = await source();
    await mkdir(out);
    const verdict = async (path: string) => {
      const error = await failure(copyForEdit(checkpoint, path));
      expect(error.code).toBe('ERR_OUTPUT');
      return kind(copyForEdit(checkpoint, path));
    };
    expect(await verdict(out)).toBe('OutputExists');
    expect(await verdict(join(folder, 'config.json'))).toBe('OutputInsideInput');
    expect(await verdict(folder)).toBe('OutputIsInput');
    expect(await verdict(join(root, 'x', '..', 'in'))).toBe('OutputIsInput');
    expect(await verdict(join(folder, 'new'))).toBe('OutputInsideInput');
    expect(await verdict(join(folder, 'onnx', 'new'))).toBe('OutputInsideInput');
    expect(await verdict(root)).toBe('OutputHoldsInput');
    expect(await verdict(join(root, 'no', 'new'))).toBe('NoFolder');
    expect(await verdict(join(root, 'new.safetensors'))).toBe('OutputIsFile');
    if (posix) {
      await symlink(folder, join(root, 'alias'));
      await symlink('nowhere', join(root, 'dangling'));
      expect(await verdict(join(root, 'alias'))).toBe('OutputIsInput');
      expect(await verdict(join(root, 'alias', 'new'))).toBe('OutputInsideInput');
      expect(await verdict(join(root, 'dangling'))).toBe('OutputExists');
    }
    expect((await readdir(root)).filter((name) => name.endsWith('.lowrank'))).toEqual([]);
    await checkpoint.close();
  });

  it('does not replace what appeared meanwhile', async () => {
    const { root, folder, out, checkpoint } = await source();
    const writer = await copyForEdit(checkpoint, out);
    await mkdir(out);
    expect(await kind(writer.commit())).toBe('OutputExists');
    expect(await readdir(out)).toEqual([]);
    await rm(out, { recursive: true });
    await writer.commit();

    const single = await open(join(folder, A));
    const file = join(root, 'single');
    const other = await copyForEdit(single, file);
    await writeFile(file, 'mine');
    expect(await kind(other.commit())).toBe('OutputExists');
    expect(await readFile(file, 'utf8')).toBe('mine');
    await other.discard();
    expect((await readdir(root)).sort()).toEqual(['in', 'out', 'single']);
    await single.close();
    await checkpoint.close();
  });

  it('copies a single file to a single file', async () => {
    const { root, folder, checkpoint } = await source();
    await checkpoint.close();
    const single = await open(join(folder, A));
    for (const name of ['b.safetensors', 'b']) {
      const writer = await copyForEdit(single, join(root, name));
      await writer.write('b', Buffer.from('BBBB'));
      await writer.commit();
      const expected = (await readFile(join(folder, A), 'latin1')).replace('aaabbbb', 'aaaBBBB');
      expect(await readFile(join(root, name), 'latin1')).toBe(expected);
    }
    // Beside the source is allowed for a file.
    await (await copyForEdit(single, join(folder, 'c.safetensors'))).commit();
    expect(await kind(copyForEdit(single, join(folder, A)))).toBe('OutputIsInput');
    expect(await kind(copyForEdit(single, folder))).toBe('OutputHoldsInput');
    expect(await kind(copyForEdit(single, join(root, 'd/')))).toBe('OutputIsFolder');
    await single.close();
    expect((await readdir(root)).sort()).toEqual(['b', 'b.safetensors', 'in']);
  });

  it('refuses a source in the place of its own copy', async () => {
    const { folder, root, checkpoint } = await source();
    await checkpoint.close();
    const work = join(root, '.edited.lowrank');
    await rename(folder, work);
    for (const path of [work, join(work, B)]) {
      const lost = await open(path);
      expect(await kind(copyForEdit(lost, join(root, 'edited'), { restart: true }))).toBe('OutputHoldsInput');
      await lost.close();
    }
  });

  it.skipIf(!posix)('keeps permissions, and writes to copies of read-only files', async () => {
    const { folder, out, checkpoint } = await source();
    await chmod(join(folder, A), 0o444);
    await chmod(join(folder, 'config.json'), 0o640);
    await chmod(join(folder, B), 0o4755);
    await chmod(join(folder, 'onnx'), 0o555);
    await chmod(folder, 0o750);
    const writer = await copyForEdit(checkpoint, out);
    await writer.write('a', Buffer.from('AAA'));
    await writer.commit();
    const mode = async (...path: string[]) => (await stat(join(out, ...path))).mode & 0o7777;
    expect(await mode(A)).toBe(0o444);
    expect(await mode('config.json')).toBe(0o640);
    expect(await mode(B)).toBe(0o755);
    expect(await mode('onnx')).toBe(0o755);
    expect(await mode()).toBe(0o750);
    await chmod(join(folder, 'onnx'), 0o755);
    await checkpoint.close();
  });

  it.skipIf(!posix)('copies the cache of Hugging Face as plain files', async () => {
    const cache = temporaryFolder();
    const snapshot = join(cache, 'snapshots', 'abc');
    await mkdir(join(cache, 'blobs'));
    await mkdir(snapshot, { recursive: true });
    await fill(join(cache, 'blobs'), { '1': two('a', 'b'), '2': '{}' });
    await symlink('../../blobs/1', join(snapshot, 'model.safetensors'));
    await symlink('../../blobs/2', join(snapshot, 'tokenizer.json'));
    await symlink('tokenizer.json', join(snapshot, 'alias.json'));
    const checkpoint = await open(snapshot);
    const writer = await copyForEdit(checkpoint, join(cache, 'out'));
    await writer.write('a', Buffer.from('AAA'));
    await writer.commit();
    await checkpoint.close();
    expect(await readFile(join(cache, 'blobs', '1'))).toEqual(two('a', 'b'));
    for (const entry of await readdir(join(cache, 'out'), { withFileTypes: true })) expect(entry.isFile()).toBe(true);
    expect(Object.keys(await contents(join(cache, 'out')))).toEqual([
      'alias.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
  });

  it.skipIf(!posix)('follows a link elsewhere for weights only', async () => {
    const { root, folder, out, checkpoint } = await source();
    await checkpoint.close();
    await rename(join(folder, A), join(root, 'big'));
    await symlink('../big', join(folder, A));
    const linked = await open(folder);
    await (await copyForEdit(linked, out)).commit();
    expect(await readFile(join(out, A))).toEqual(two('a', 'b'));

    const verdict = async (to: string) => {
      await symlink(to, join(folder, 'notes.txt'));
      const answer = await kind(copyForEdit(linked, join(root, 'new')));
      await rm(join(folder, 'notes.txt'));
      return answer;
    };
    await writeFile(join(root, 'secret'), 'secret');
    expect(await verdict('../secret')).toBe('LinkOutside');
    expect(await verdict('/etc/passwd')).toBe('LinkOutside');
    expect(await verdict('..')).toBe('LinkOutside');
    expect(await verdict('onnx')).toBe('LinkToFolder');
    expect(await verdict('nowhere')).toBe('NotFound');
    expect(await verdict('notes.txt')).toBe('IoError');
    await linked.close();
    expect((await readdir(root)).sort()).toEqual(['big', 'in', 'out', 'secret']);
  });

  it.skipIf(!posix)('does not wait for a pipe', async () => {
    const { root, folder, out, checkpoint } = await source();
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    expect(await kind(copyForEdit(checkpoint, out))).toBe('NotAFile');
    expect(await readdir(root)).toEqual(['in']);
    await checkpoint.close();
  });

  it('refuses a source that changed since it was opened', async () => {
    const { root, folder, out, checkpoint } = await source();
    // The same tensors and size, in another order.
    await writeFile(join(folder, B), two('d', 'c'));
    expect(await kind(copyForEdit(checkpoint, out))).toBe('Changed');
    await writeFile(join(folder, B), 'x');
    expect(await kind(copyForEdit(checkpoint, out))).toBe('Changed');
    expect(await readdir(root)).toEqual(['in']);
    await checkpoint.close();
  });

  it('refuses a folder that is too deep, and removes what it copied', async () => {
    const { root, folder, out, checkpoint } = await source();
    await mkdir(join(folder, ...Array(40).fill('x')), { recursive: true });
    expect(await kind(copyForEdit(checkpoint, out))).toBe('FolderTooDeep');
    expect(await readdir(root)).toEqual(['in']);
    await checkpoint.close();
  });

  it('stops at a signal', async () => {
    const { root, out, checkpoint } = await source();
    const reason = new Error('enough');
    await expect(copyForEdit(checkpoint, out, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const copying = copyForEdit(checkpoint, out, { signal: controller.signal });
    setImmediate(() => controller.abort());
    await expect(copying).rejects.toMatchObject({ name: 'AbortError' });
    expect(await readdir(root)).toEqual(['in']);
    await checkpoint.close();
  });

  it('shortens the temporary name of a long one', async () => {
    const { root, checkpoint } = await source();
    const out = join(root, 'n'.repeat(255));
    await (await copyForEdit(checkpoint, out)).commit();
    expect((await readdir(root)).sort()).toEqual(['in', basename(out)]);
    await checkpoint.close();
  });

  it('lets nothing appear when the process dies before commit', async () => {
    const { folder, checkpoint } = await source();
    await checkpoint.close();
    const work = temporaryFolder();
    const out = join(work, 'out');
    const library = (name: string) => JSON.stringify(join(import.meta.dirname, '../../../lib/checkpoint', name));
    const script = `
      import { createServer } from 'vite';
      const server = await createServer({ configFile: false, server: { middlewareMode: true, hmr: false, ws: false, watch: null }, logLevel: 'silent', optimizeDeps: { noDiscovery: true } });
      const { open } = await server.ssrLoadModule(${library('open.ts')});
      const { copyForEdit } = await server.ssrLoadModule(${library('copy/copy-for-edit.ts')});
      const writer = await copyForEdit(await open(${JSON.stringify(folder)}), ${JSON.stringify(out)});
      await writer.write('a', Buffer.from('AAA'));
      process.kill(process.pid, 'SIGKILL');`;
    expect(() => execFileSync(process.execPath, ['--input-type=module', '-e', script], { stdio: 'pipe' })).toThrow(
      expect.objectContaining(KILLED),
    );
    const left = await readdir(work);
    expect(left).toEqual(['.out.lowrank']);
    expect((await contents(join(work, '.out.lowrank', 'copy')))[A]).toContain('AAAbbbb');

    // The next one finds the lock of a dead process and a copy that no journal vouches for: it
    // begins anew.
    const again = await open(folder);
    const writer = await copyForEdit(again, out);
    await writer.write('b', Buffer.from('BBBB'));
    await writer.commit();
    await again.close();
    expect(await readdir(work)).toEqual(['out']);
    expect(await readFile(join(out, A), 'latin1')).toContain('aaaBBBB');
  });
});
