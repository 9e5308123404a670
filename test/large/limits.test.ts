import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openOnnx } from '../../lib/checkpoint/onnx/checkpoint.js';
import { open } from '../../lib/checkpoint/open.js';
import { parseHeader } from '../../lib/checkpoint/safetensors/header.js';
import { kind } from '../support/failure.js';
import { temporaryFolder } from '../support/folder.js';
import { description, key, type MadeGguf, madeGguf, VALUE } from '../support/gguf.js';
import { chainOfNodes } from '../support/onnx.js';
import { SLOWNESS } from '../support/time.js';

it('a safetensors file may hold 1,000,000 tensors, and no more', () => {
  const one = (i: number) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`;
  const names = Array.from({ length: 1_000_001 }, (_, i) => one(i));
  const parse = (tensors: readonly string[]) => {
    const header = Buffer.from(`{${tensors.join()}}`);
    return parseHeader(header, 8 + header.length, 'f');
  };
  expect(() => parse(names)).toThrow(
    expect.objectContaining({ kind: 'TooManyTensors', code: 'ERR_CHECKPOINT_FORMAT' }),
  );
  expect(parse(names.slice(1)).tensors).toHaveLength(1_000_000);
});

it('a GGUF file may hold 100,000 tensors and 100,000 keys, and no more of either', async () => {
  const file = join(temporaryFolder(), 'a.gguf');
  const tensors = Array.from({ length: 100_001 }, (_, i) => description(`${i}`, [0], 0, 0));
  const keys = Array.from({ length: 100_001 }, (_, i) => key(`${i}`, VALUE.u8, Buffer.from([0])));
  const opened = async (made: MadeGguf) => {
    await writeFile(file, madeGguf(made));
    const checkpoint = await open(file);
    await checkpoint.close();
    return checkpoint.tensors.size;
  };
  expect(await kind(opened({ tensors }))).toBe('TooManyTensors');
  expect(await kind(opened({ keys }))).toBe('TooManyKeys');
  expect(await opened({ tensors: tensors.slice(1), keys: keys.slice(1) })).toBe(100_000);
});

it('a graph of 100,000 nodes opens in time', async () => {
  const file = join(temporaryFolder(), 'a.onnx');
  await writeFile(file, chainOfNodes(100_000));
  const started = performance.now();
  await (await openOnnx(file, file)).close();
  expect(performance.now() - started).toBeLessThan(SLOWNESS * 10_000);
});
