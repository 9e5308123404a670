import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findWeights, modelsIn } from '../../../lib/checkpoint/folder.js';
import { ENDINGS_IN_WORDS, FORMATS, FORMATS_IN_WORDS, formatNamed } from '../../../lib/checkpoint/formats.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { fill } from '../../support/safetensors.js';

const files = (...names: string[]) => Object.fromEntries(names.map((name) => [name, '']));
const length = (value: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};

describe('the list of formats', () => {
  it('has each format once, under its own name', () => {
    const names = FORMATS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const format of FORMATS) expect(formatNamed(format.name)).toBe(format);
    expect(FORMATS_IN_WORDS).toBe('safetensors, GGUF or ONNX');
    expect(ENDINGS_IN_WORDS).toBe('.safetensors, .gguf or .onnx');
  });

  it.each<[string, Buffer, string | undefined]>([
    ['a header after its length', Buffer.concat([length(2n), Buffer.from('{}')]), 'safetensors'],
    ['the largest header', Buffer.concat([length(100_000_000n), Buffer.from('{')]), 'safetensors'],
    ['JSON', Buffer.from(' \n{"weight_map": {}}'), 'index'],
    ['a GGUF file', Buffer.from('GGUF\x03\0\0\0\0\0\0\0'), 'gguf'],
    ['a GGUF file that could be a length', Buffer.from('GGUF\0\0\0\0{'), 'gguf'],
    ['an ONNX model', Buffer.from([0x08, 0x08, 0x12, 0x01, 0x61, 0x3a, 0x01, 0x01]), 'onnx'],
    ['a message that could be a length', Buffer.from([0x08, 0x08, 0x3a, 0x00, 0, 0, 0, 0, 0]), undefined],
    ['nothing', Buffer.alloc(0), undefined],
    ['text', Buffer.from('hello'), undefined],
  ])('at most one format recognises %s', (_, start, expected) => {
    const found = FORMATS.map((format) => format.sniff(start)).filter((content) => content !== undefined);
    expect(found).toEqual(expected === undefined ? [] : [expected]);
  });

  it('takes the first format of a folder, and its only model', async () => {
    const folder = temporaryFolder();
    await mkdir(join(folder, 'onnx'));
    await fill(join(folder, 'onnx'), files('model.onnx', 'model_fp16.onnx'));
    expect((await findWeights(folder)).files).toEqual(['onnx/model.onnx']);
    await fill(folder, files('other.onnx'));
    expect((await findWeights(folder)).files).toEqual(['other.onnx']);
    await fill(folder, files('m-00001-of-00002.gguf', 'm-00002-of-00002.gguf'));
    expect((await findWeights(folder)).files).toEqual(['m-00001-of-00002.gguf']);
    await fill(folder, files('z.safetensors'));
    expect((await findWeights(folder)).files).toEqual(['z.safetensors']);
    await fill(folder, files('y.safetensors', '.x.safetensors'));
    const error = await failure(findWeights(folder));
    expect(error).toMatchObject({ kind: 'AmbiguousWeights', message: expect.stringContaining('y.safetensors') });
    await fill(folder, files('model.safetensors'));
    expect((await findWeights(folder)).files).toEqual(['model.safetensors']);
    expect(await modelsIn(folder, 'gguf')).toEqual(['m-00001-of-00002.gguf']);
    expect(await modelsIn(folder, 'onnx')).toEqual(['other.onnx']);
  });
});
