import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readAdapter } from '../../../lib/adapters/files.js';
import { open } from '../../../lib/checkpoint/open.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { fill } from '../../support/safetensors.js';

const latin1 = (text: string) => Buffer.from(text, 'latin1');
/**
 * A zip archive as far as it is looked at: the first entry, and the names in the table of contents.
 */
const zip = (...names: readonly string[]) =>
  latin1(
    `PK\x03\x04\x14${'\0'.repeat(25)}${names[0]}${'x'.repeat(600)}${names.map((name) => `PK\x01\x02${name}`).join('')}`,
  );

const SAVE_FILE = 'safetensors.torch.save_file(';

async function failureOf(name: string, content: string | Uint8Array) {
  const folder = temporaryFolder();
  await fill(folder, { [name]: content });
  return failure(open(join(folder, name)));
}

describe('a file of another format', () => {
  it.each([
    ['model.pt', zip('archive/data.pkl', 'archive/data/0'), 'torch.save', SAVE_FILE],
    ['weights', zip('model/data.pkl', 'model/version'), 'torch.save', SAVE_FILE],
    ['model.ckpt', latin1('\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'), 'pickle', SAVE_FILE],
    ['pytorch_model.bin', zip('archive/data.pkl'), 'torch.save', 'safe_serialization=True'],
    ['pytorch_model-00001-of-00002.bin', latin1('\x80\x02}q\0X'), 'pickle', 'safe_serialization=True'],
    ['scripted.pt', zip('m/data.pkl', 'm/code/__torch__.py', 'm/constants.pkl'), 'TorchScript', 'torch.jit.load(path)'],
    ['weights.npz', zip('w.npy'), 'NumPy', 'safetensors.numpy.save_file('],
    ['weights.npy', latin1('\x93NUMPY\x01\0v\0'), 'NumPy', 'safetensors.numpy.save_file('],
    ['model.keras', zip('metadata.json', 'model.weights.h5'), 'Keras', 'ONNX'],
    ['some.zip', zip('readme.txt'), 'zip', 'Unpack'],
    ['tf_model.h5', latin1('\x89HDF\r\n\x1a\n'), 'HDF5', 'from_tf'],
    ['flax_model.msgpack', latin1('\x82\xabtransformer\x81\xa1h'), 'MessagePack', 'from_flax'],
    ['model.tflite', latin1('\x1c\0\0\0TFL3xxxxxxxx'), 'TensorFlow Lite', 'tf2onnx'],
    ['model.tar.gz', latin1('\x1f\x8b\x08\0\0\0\x01\0'), 'gzip', 'Unpack'],
    ['dated-1970.gz', latin1('\x1f\x8b\x08\0\0\0\0\0\x02\x03'), 'gzip', 'Unpack'],
    ['model.tar', latin1(`model.safetensors${'\0'.repeat(240)}ustar`), 'tar', 'Unpack'],
    ['ggml-model.bin', latin1('tjgg\x03\0\x01\0'), 'GGML', 'GGUF'],
  ])('%s is named, and told how to convert', async (name, content, what, hint) => {
    expect(await failureOf(name, content)).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining(what),
      hint: expect.stringContaining(hint),
    });
  });

  it.each([
    ['table.csv', 'name,value\na,1\nb,2\n', '"name,value'],
    ['short', 'no', '"no"'],
    ['prose.md', `# Model\n\n${'größe '.repeat(200)}`, '"# Model'],
    ['excel.csv', Buffer.from('\ufeffname;value\r\n1;2\r\n'), '"name;value'],
    ['wide.txt', Buffer.from('\ufeffname,value', 'utf16le'), 'text'],
    ['list.json', '[{"a": 1}, {"b": 2}]', '"[{'],
    ['page.safetensors', '<!DOCTYPE html>\n<html><title>403</title></html>', 'web page'],
    ['denied.gguf', '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 'web page'],
  ])('%s is told to be text', async (name, content, words) => {
    const error = await failureOf(name, content);
    expect(error).toMatchObject({ kind: 'TextFile', code: 'ERR_CHECKPOINT_FORMAT', hint: expect.any(String) });
    expect(error.message).toContain(words);
    expect(error.message).not.toMatch(/header/);
  });

  it('a JSON file that is not an index gets a hint', async () => {
    const error = await failureOf('tokenizer.json', '{"version": "1.0"}');
    expect(error).toMatchObject({ kind: 'InvalidIndex', hint: expect.stringContaining('folder of the model') });
  });

  it('numbers that start like no format are not a header of an absurd length', async () => {
    const error = await failureOf('noise', latin1('\xfe\xdc\xba\x98\x76\x54\x32\x90 and more'));
    expect(error).toMatchObject({ kind: 'HeaderTooLarge' });
    expect(error.message).toContain('fe dc ba 98 76 54 32 90');
  });

  it('a pointer of Git LFS in an adapter is named', async () => {
    const folder = temporaryFolder();
    await fill(folder, {
      'adapter_config.json': '{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":["q"]}',
      'adapter_model.safetensors': 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
    });
    expect(await kind(readAdapter(folder))).toBe('GitLfsPointer');
  });
});

describe('a folder without weights that are read here', () => {
  it.each([
    [['pytorch_model.bin'], 'safe_serialization=True'],
    [['pytorch_model.bin.index.json', 'pytorch_model-00001-of-00002.bin'], 'safe_serialization=True'],
    [['consolidated.00.pth'], SAVE_FILE],
    [['model.ckpt'], SAVE_FILE],
    [['tf_model.h5'], 'from_tf'],
    [['flax_model.msgpack'], 'from_flax'],
    [['saved_model.pb'], 'ONNX'],
    [['weights.npz'], 'safetensors.numpy.save_file('],
  ])('%j are named, with a hint', async (names, hint) => {
    const folder = temporaryFolder();
    await fill(folder, {
      'config.json': '{}',
      'training_args.bin': 'x',
      ...Object.fromEntries(names.map((name) => [name, 'x'])),
    });
    const error = await failure(open(folder));
    expect(error).toMatchObject({ kind: 'NoWeights', hint: expect.stringContaining(hint) });
    expect(error.message).toContain(names.at(-1));
    expect(error.message).not.toContain('training_args');
  });

  it('an empty folder gets no further hint', async () => {
    const folder = temporaryFolder();
    await fill(folder, { 'training_args.bin': 'x', 'README.md': '' });
    expect((await failure(open(folder))).message).toMatch(/has no \.safetensors, \.gguf or \.onnx file$/);
  });
});
