import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { open } from '../../../lib/checkpoint/open.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { fill, made } from '../../support/safetensors.js';

const one = (name: string, data: string) =>
  made({ [name]: { dtype: 'U8', shape: [data.length], data_offsets: [0, data.length] } }, data);
const index = (map: object) => JSON.stringify({ metadata: { total_size: 4 }, weight_map: map });
const A = 'model-00001-of-00002.safetensors';
const B = 'model-00002-of-00002.safetensors';

async function folderWith(files: Record<string, string | Uint8Array>): Promise<string> {
  const folder = temporaryFolder();
  await fill(folder, files);
  return folder;
}

const sharded = (changes: Record<string, string | Uint8Array> = {}) =>
  folderWith({
    [A]: one('a', 'aa'),
    [B]: one('b', 'bb'),
    'model.safetensors.index.json': index({ b: B, a: A }),
    ...changes,
  });

async function text(path: string, name: string): Promise<string> {
  const checkpoint = await open(path);
  try {
    return Buffer.from(await checkpoint.read(name)).toString();
  } finally {
    await checkpoint.close();
  }
}

describe('open', () => {
  it('opens a single file, whatever its name, with the config beside it', async () => {
    const folder = await folderWith({ weights: one('a', 'hello'), 'config.json': '{"model_type":"gpt2"}' });
    const checkpoint = await open(relative(process.cwd(), join(folder, 'weights')));
    expect(checkpoint).toMatchObject({ format: 'safetensors', path: join(folder, 'weights') });
    expect(checkpoint.config).toEqual({ model_type: 'gpt2' });
    expect([...checkpoint.tensors.values()]).toEqual([
      { name: 'a', dtype: 'U8', shape: [5], bytes: 5, file: 'weights', offset: 8 + 53 },
    ]);
    expect(Buffer.from(await checkpoint.read('a')).toString()).toBe('hello');
    expect(await failure(checkpoint.read('b'))).toMatchObject({ code: 'ERR_NOT_FOUND' });
    expect(await failure(checkpoint.read('__proto__'))).toMatchObject({ code: 'ERR_NOT_FOUND' });
    await checkpoint.close();
    await checkpoint.close();
  });

  it('opens a header of which the first byte of the length is a brace', async () => {
    const header = '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.padEnd(0x7b);
    const folder = await folderWith({ 'a.safetensors': made(header, 'x') });
    expect(await text(join(folder, 'a.safetensors'), 'a')).toBe('x');
  });

  it('opens a folder, its shards in the order of their names, and its index', async () => {
    const folder = await sharded();
    for (const path of [folder, `${folder}/`, join(folder, 'model.safetensors.index.json')]) {
      const checkpoint = await open(path);
      expect(checkpoint.path).toBe(folder);
      expect(checkpoint.config).toBeUndefined();
      expect([...checkpoint.tensors.keys()]).toEqual(['a', 'b']);
      expect(checkpoint.tensors.get('b')).toMatchObject({ file: B });
      expect(Buffer.from(await checkpoint.read('b')).toString()).toBe('bb');
      await checkpoint.close();
    }
  });

  it('returns the index as entry point if the folder would open as another model', async () => {
    const main = async (path: string) => {
      const checkpoint = await open(path);
      await checkpoint.close();
      return checkpoint.main;
    };
    const alone = await sharded();
    expect(await main(join(alone, 'model.safetensors.index.json'))).toBe(alone);
    const besides: Record<string, string | Uint8Array>[] = [
      { 'model.safetensors': one('m', 'm') },
      { 'model.safetensors.index.json': index({ a: A }), 'model.fp16.safetensors.index.json': index({ b: B, a: A }) },
    ];
    for (const beside of besides) {
      const folder = await sharded(beside);
      expect(await main(folder)).toBe(folder);
      const other = join(
        folder,
        Object.keys(beside)
          .at(-1)!
          .replace(/safetensors$/, 'safetensors.index.json'),
      );
      expect(await main(other)).toBe(other);
      expect(await text(other, 'b')).toBe('bb');
    }
  });

  it('chooses the weights as transformers does', async () => {
    expect(await text(await sharded({ 'model.safetensors': one('m', 'm') }), 'm')).toBe('m');
    expect(
      await text(await folderWith({ 'adapter_model.safetensors': one('x', 'x'), '._x.safetensors': '' }), 'x'),
    ).toBe('x');
    const diffusers = {
      [A]: one('a', 'a'),
      'unet.safetensors.index.json': index({ a: A }),
      'z.safetensors': one('z', 'z'),
    };
    expect(await text(await folderWith(diffusers), 'a')).toBe('a');
  });

  it('refuses to guess', async () => {
    expect(await kind(open(await folderWith({ 'README.md': '' })))).toBe('NoWeights');
    expect(await kind(open(await folderWith({ [A]: one('a', 'a'), [B]: one('b', 'b') })))).toBe('AmbiguousWeights');
  });

  it('names what cannot be found', async () => {
    const folder = await sharded();
    for (const path of [join(folder, 'no'), join(folder, A, 'x')]) {
      expect(await failure(open(path))).toMatchObject({ code: 'ERR_CHECKPOINT_IO', kind: 'NotFound', file: path });
    }
    const incomplete = await folderWith({ [A]: one('a', 'a'), 'model.safetensors.index.json': index({ a: A, b: B }) });
    const error = await failure(open(incomplete));
    expect(error).toMatchObject({ code: 'ERR_CHECKPOINT_IO', kind: 'MissingShard', file: join(incomplete, B) });
  });

  it.skipIf(process.platform === 'win32')('does not wait for a pipe', async () => {
    const folder = temporaryFolder();
    execFileSync('mkfifo', [join(folder, 'model.safetensors')]);
    expect(await kind(open(folder))).toBe('NotAFile');
    expect(await kind(open(join(folder, 'model.safetensors')))).toBe('NotAFile');
  });

  it('names the files of other programs', async () => {
    const folder = await folderWith({
      zip: Buffer.from('PK\x03\x04\x14\0\x08\x08'),
      lfs: 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
    });
    expect(await failure(open(join(folder, 'zip')))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    const lfs = await failure(open(join(folder, 'lfs')));
    expect(lfs).toMatchObject({ kind: 'GitLfsPointer', hint: expect.stringContaining('git lfs pull') });
  });

  describe('an index', () => {
    const verdict = async (content: string | Uint8Array) =>
      kind(open(await sharded({ 'model.safetensors.index.json': content })));

    it.each([
      '/etc/passwd',
      '../other/model.safetensors',
      '..',
      '.',
      '',
      'sub/model.safetensors',
      './model.safetensors',
      'a/../../b',
      '..\\b',
      'sub\\b',
      'C:\\b',
      'C:b',
      '\\\\server\\share',
      'a\0.safetensors',
      'a\n.safetensors',
      'file:///etc/passwd',
      'x'.repeat(256),
    ])('may not name %j', async (name) => {
      expect(await verdict(index({ a: A, b: name }))).toBe('UnsafeFileName');
    });

    it('must be one', async () => {
      expect(await verdict('{}')).toBe('InvalidIndex');
      expect(await verdict('{"weight_map":{}}')).toBe('InvalidIndex');
      expect(await verdict('{"weight_map":null}')).toBe('InvalidIndex');
      expect(await verdict('{"weight_map":{"a":1}}')).toBe('InvalidIndex');
      expect(await verdict('{"weight_map":["a"]}')).toBe('InvalidIndex');
      expect(await verdict(`{"weight_map":{"a":"${A}","a":"${B}"}}`)).toBe('InvalidIndex');
      expect(await verdict(`{"weight_map":{"a":"${A}"},"weight_map":{"b":"${B}"}}`)).toBe('InvalidIndex');
      expect(await verdict(`${index({ a: A, b: B })}x`)).toBe('InvalidIndex');
      expect(await verdict(Buffer.from('{"weight_map":{"\xff":"b"}}', 'latin1'))).toBe('InvalidIndex');
      const many = Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`${i}`, `${i}.safetensors`]));
      expect(await verdict(index(many))).toBe('TooManyShards');
    });

    it('must agree with the files', async () => {
      expect(await verdict(index({ a: A, b: B, c: B }))).toBe('TensorNotInShard');
      expect(await verdict(index({ a: B, b: A }))).toBe('TensorNotInShard');
      expect(await kind(open(await sharded({ [B]: made({}, '') })))).toBe('TensorNotInShard');
      expect(await kind(open(await sharded({ [B]: one('c', 'cc') })))).toBe('TensorNotInIndex');
      expect(await kind(open(await sharded({ [B]: one('a', 'bb') })))).toBe('TensorInTwoShards');
      const moved = await failure(open(await sharded({ 'model.safetensors.index.json': index({ a: B, b: A }) })));
      expect(moved.message).toContain(`${A} has it`);
    });

    it('may name tensors __proto__ and constructor', async () => {
      const map = `{"weight_map":{"__proto__":"${A}","constructor":"${B}"}}`;
      const header = '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
      const files = { [A]: made(header, 'p'), [B]: one('constructor', 'c'), 'model.safetensors.index.json': map };
      const folder = await folderWith(files);
      expect(await text(folder, '__proto__')).toBe('p');
      expect(await text(folder, 'constructor')).toBe('c');
    });

    it('is refused when a shard is broken', async () => {
      expect(await kind(open(await sharded({ [B]: one('b', 'bb').subarray(0, -1) })))).toBe('MetadataIncompleteBuffer');
    });
  });

  it.skipIf(process.platform === 'win32')('reads the cache of Hugging Face, whose files are links', async () => {
    const cache = temporaryFolder();
    const snapshot = join(cache, 'snapshots', 'abc');
    await mkdir(join(cache, 'blobs'));
    await mkdir(snapshot, { recursive: true });
    await fill(join(cache, 'blobs'), {
      '1': one('a', 'aa'),
      '2': one('b', 'bb'),
      '3': index({ a: A, b: B }),
      '4': '{"x":1}',
    });
    const links = { '1': A, '2': B, '3': 'model.safetensors.index.json', '4': 'config.json' };
    for (const [blob, name] of Object.entries(links)) await symlink(`../../blobs/${blob}`, join(snapshot, name));
    for (const path of [snapshot, join(snapshot, 'model.safetensors.index.json')]) {
      const checkpoint = await open(path);
      expect(checkpoint).toMatchObject({ path: snapshot, config: { x: 1 } });
      expect(Buffer.from(await checkpoint.read('b')).toString()).toBe('bb');
      await checkpoint.close();
    }
    expect(await text(join(snapshot, A), 'a')).toBe('aa');
  });

  it('reads a config as Python writes it', async () => {
    const config =
      '{"time_step_limit": [0.0, Infinity], "low": -Infinity, "p": NaN, "text": "NaN \\"Infinity\\" \\\\"}';
    const folder = await folderWith({ 'model.safetensors': one('a', 'a'), 'config.json': config });
    const checkpoint = await open(folder);
    await checkpoint.close();
    expect(checkpoint.config).toEqual({
      time_step_limit: [0, Number.POSITIVE_INFINITY],
      low: Number.NEGATIVE_INFINITY,
      p: null,
      text: 'NaN "Infinity" \\',
    });
  });

  it.each(['', '{', '[]', 'null', '3', '{"a":Infinityx}'])('refuses the config %j, naming it', async (config) => {
    const folder = await folderWith({ 'model.safetensors': one('a', 'a'), 'config.json': config });
    const error = await failure(open(folder));
    expect(error).toMatchObject({ kind: 'InvalidConfig', file: join(folder, 'config.json') });
  });

  it('refuses a config of unreasonable size', async () => {
    const folder = await folderWith({ 'model.safetensors': one('a', 'a') });
    await writeFile(join(folder, 'config.json'), `{"a":"${'x'.repeat(16 * 1024 * 1024)}"}`);
    expect(await kind(open(folder))).toBe('FileTooLarge');
  });
});
