import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openOnnx } from '../../../lib/checkpoint/onnx/checkpoint.js';
import { open } from '../../../lib/checkpoint/open.js';
import { LowRankError } from '../../../lib/errors.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { counted, field, floats, graphProto, modelProto } from '../../support/onnx.js';
import { corpus, rich } from '../../support/onnx-corpus.js';
import { fill } from '../../support/safetensors.js';
import { SLOWNESS } from '../../support/time.js';

/** The reader must end within this, whatever the file. The machine may be busy with other tests. */
const MILLISECONDS = 1000;

async function verdict(file: string): Promise<string> {
  try {
    const checkpoint = await openOnnx(file, file);
    try {
      for (const name of checkpoint.tensors.keys()) await checkpoint.read(name);
    } finally {
      await checkpoint.close();
    }
    return 'ok';
  } catch (error) {
    if (!(error instanceof LowRankError)) throw error;
    return error.code;
  }
}

describe('hostile ONNX files', () => {
  it.each(corpus)('$name: $verdict', async ({ bytes, verdict: expected }) => {
    const file = join(temporaryFolder(), 'a.onnx');
    await writeFile(file, bytes);
    const started = performance.now();
    const opening = openOnnx(file, file).then((checkpoint) => checkpoint.close());
    if (expected === 'ok') await opening;
    else expect(await kind(opening)).toBe(expected);
    expect(performance.now() - started).toBeLessThan(SLOWNESS * MILLISECONDS);
  });

  it('a file cut at any byte is refused', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'a.onnx');
    await fill(folder, { 'data.bin': floats(1) });
    const accepted: number[] = [];
    for (let length = 0; length < rich.length; length++) {
      await writeFile(file, rich.subarray(0, length));
      if ((await verdict(file)) === 'ok') accepted.push(length);
    }
    // The last field of the model, its opset, may be missing: it says nothing of the tensors.
    const end = rich.indexOf(field(8, Buffer.concat([field(1, ''), field(2, 17)])));
    expect(accepted).toEqual([end]);
  });

  it('a file with some bytes changed is read or refused, in time', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'a.onnx');
    await fill(folder, { 'data.bin': floats(1) });
    const change = fc.tuple(fc.nat(rich.length - 1), fc.integer({ min: 0, max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
        const bytes = Buffer.from(rich);
        for (const [at, value] of changes) bytes[at] = value;
        await writeFile(file, bytes);
        const started = performance.now();
        await verdict(file);
        expect(performance.now() - started).toBeLessThan(SLOWNESS * MILLISECONDS);
      }),
      { numRuns: 1500 },
    );
  });

  it('any bytes are read or refused', async () => {
    const file = join(temporaryFolder(), 'a.onnx');
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        await writeFile(file, bytes);
        await verdict(file);
      }),
      { numRuns: 500 },
    );
  });

  it('a file that becomes shorter is noticed', async () => {
    const file = join(temporaryFolder(), 'a.onnx');
    await writeFile(file, modelProto(graphProto([], [counted('w', 4, 4)])));
    const checkpoint = await open(file);
    await truncate(file, 40);
    expect(await kind(checkpoint.read('w'))).toBe('FileShrank');
    await checkpoint.close();
  });
});

describe('files of other programs', () => {
  it.each([
    ['an .ort model', Buffer.concat([Buffer.from([0x18, 0, 0, 0]), Buffer.from('ORTMxxxxxxxxxxxx')]), 'onnxruntime'],
    ['a TensorFlow Lite model', Buffer.concat([Buffer.from([0x1c, 0, 0, 0]), Buffer.from('TFL3xxxxxxxxxxxx')]), 'Lite'],
    [
      'a SavedModel',
      Buffer.concat([field(1, 1), field(2, Buffer.concat([field(1, field(5, '1.2.3')), field(2, 'graph')]))]),
      'protobuf',
    ],
    [
      'a frozen graph',
      Buffer.concat([field(1, Buffer.concat([field(1, 'input/x'), field(2, 'Placeholder')])), field(4, '')]),
      'protobuf',
    ],
  ])('%s is named', async (_, bytes, word) => {
    const file = join(temporaryFolder(), 'model.onnx');
    await writeFile(file, bytes);
    const error = await failure(open(file));
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED', hint: expect.stringMatching(/ONNX|onnx/) });
    expect(error.message).toContain(word);
  });
});
