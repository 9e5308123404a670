import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { temporaryPaths } from '../support/folder.js';

// What exported models ask for besides their tokens differs with the tool, its version and the
// model. The packages here stand in for onnxruntime-node and @huggingface/tokenizers: a model is a
// list of inputs, and what it was fed is written down.

const RUNTIME = `
const { appendFileSync, readFileSync } = require('node:fs');
exports.Tensor = class { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } };
exports.InferenceSession = {
  async create(path) {
    const { inputs, type, dims } = JSON.parse(readFileSync(path, 'utf8'));
    return {
      inputNames: inputs.map(({ name }) => name),
      inputMetadata: inputs,
      outputNames: ['present.0.key', 'logits'],
      async release() {},
      async run(feeds) {
        const plain = ([name, { type, data, dims }]) => [name, { type, dims, array: data.constructor.name, data: [...data].map(Number) }];
        appendFileSync(path + '.fed', JSON.stringify(Object.fromEntries(Object.entries(feeds).map(plain))) + '\\n');
        // Every token is followed by the next of five: its logit is 3, the others' 0.
        const { data: tokens, dims: [batch, length] } = feeds.input_ids;
        const Numbers = type === 'float16' ? Uint16Array : type === 'float32' ? Float32Array : Float64Array;
        const data = new Numbers(batch * length * 5);
        tokens.forEach((token, i) => { data[5 * i + ((Number(token) + 1) % 5)] = type === 'float16' ? 0x4200 : 3; });
        return { logits: { type, data, dims: dims ?? [batch, length, 5] } };
      },
    };
  },
};`;

const TOKENIZERS = `
const letters = 'abcd ';
exports.Tokenizer = class {
  encode(text) { return { ids: [...text].map((letter) => letters.indexOf(letter)) }; }
  decode(ids) { return ids.map((id) => letters[id]).join(''); }
  token_to_id(token) { return letters.includes(token) ? letters.indexOf(token) : undefined; }
};`;

/** Two choices of two tokens, which go through the model together. */
const question = { id: 0, kind: 'choice', prompt: 'abcd ', choices: ['ab', 'bb'], label: 0, answer: 'ab' } as const;
const IDS = { name: 'input_ids', type: 'int64', shape: ['batch', 'length'] };
/**
 * The logarithms of the probabilities of two likely tokens, e^3 of e^3 + 4 each, and of two others.
 */
const LIKELY = 2 * (3 - Math.log(Math.exp(3) + 4));
const OTHER = -2 * Math.log(Math.exp(3) + 4);

const at = temporaryPaths();

interface Fed {
  readonly type: string;
  readonly dims: readonly number[];
  readonly array: string;
  readonly data: readonly number[];
}

/**
 * Asks a model with these inputs what follows `abcd `, and answers with the choices' scores and
 * with what the model was fed.
 */
async function ask(name: string, inputs: readonly object[], output: object = { type: 'float32' }) {
  for (const [peer, code] of Object.entries({ 'onnxruntime-node': RUNTIME, '@huggingface/tokenizers': TOKENIZERS })) {
    await mkdir(at('node_modules', peer), { recursive: true });
    await writeFile(at('node_modules', peer, 'package.json'), JSON.stringify({ name: peer, main: 'index.js' }));
    await writeFile(at('node_modules', peer, 'index.js'), code);
  }
  await mkdir(at(name));
  await writeFile(at(name, 'model.onnx'), JSON.stringify({ inputs: [IDS, ...inputs], ...output }));
  await writeFile(at(name, 'tokenizer.json'), '{}');
  const built = new URL('../../dist/entries/evaluate.js', import.meta.url).href;
  const { Evaluator, onnxEngine } = (await import(built)) as typeof import('../../lib/entries/evaluate.js');
  const evaluator = new Evaluator(onnxEngine({ threads: 1, peers: at() }));
  try {
    const { results } = await evaluator.evaluate(at(name), [question]);
    const [line] = (await readFile(at(name, 'model.onnx.fed'), 'utf8')).split('\n');
    const [likely, other] = results[0]!.choiceLogProbs!;
    expect([likely! - LIKELY, other! - OTHER].every((error) => Math.abs(error) < 1e-5)).toBe(true);
    return { correct: results[0]!.correct, fed: JSON.parse(line!) as Record<string, Fed> };
  } finally {
    await evaluator.close();
  }
}

describe('inputs of ONNX models', () => {
  it('tokens alone', async () => {
    const { correct, fed } = await ask('tokens', []);
    expect(correct).toBe(true);
    expect(Object.keys(fed)).toEqual(['input_ids']);
    expect(fed.input_ids).toMatchObject({ type: 'int64', array: 'BigInt64Array' });
    expect(fed.input_ids!.dims[0]).toBe(2);
    expect(fed.input_ids!.data.slice(0, 6)).toEqual([0, 1, 2, 3, 4, 0]);
  });

  it('a mask of ones, positions from 0 in every row, one kind of token', async () => {
    const { fed } = await ask(
      'named',
      ['attention_mask', 'position_ids', 'token_type_ids'].map((name) => ({ ...IDS, name })),
    );
    const [batch, length] = fed.input_ids!.dims as [number, number];
    const rows = (of: (position: number) => number) => Array.from({ length: batch * length }, (_, i) => of(i % length));
    const same = { type: 'int64', array: 'BigInt64Array', dims: [batch, length] };
    expect(fed.attention_mask).toEqual({ ...same, data: rows(() => 1) });
    expect(fed.position_ids).toEqual({ ...same, data: rows((position) => position) });
    expect(fed.token_type_ids).toEqual({ ...same, data: rows(() => 0) });
  });

  it('of models with a cache, none of it, in its own shape and type', async () => {
    const past = (type: string, heads: number) => ({ type, shape: ['batch', heads, 'past', 8] });
    const { fed } = await ask('cache', [
      { name: 'past_key_values.0.key', ...past('float32', 2) },
      { name: 'past_key_values.0.value', ...past('float16', 3) },
      { name: 'use_cache_branch', type: 'bool', shape: [1] },
      { name: 'num_logits_to_keep', type: 'int64', shape: [] },
    ]);
    const [batch] = fed.input_ids!.dims;
    expect(fed['past_key_values.0.key']).toEqual({
      type: 'float32',
      array: 'Float32Array',
      dims: [batch, 2, 0, 8],
      data: [],
    });
    expect(fed['past_key_values.0.value']).toEqual({
      type: 'float16',
      array: 'Uint16Array',
      dims: [batch, 3, 0, 8],
      data: [],
    });
    expect(fed.use_cache_branch).toMatchObject({ type: 'bool', dims: [1], data: [0] });
    expect(fed.num_logits_to_keep).toMatchObject({ type: 'int64', dims: [], data: [0] });
  });

  it('and logits in float16 are read', async () => {
    expect(await ask('half', [], { type: 'float16' })).toMatchObject({ correct: true });
  });

  it('refuses unknown inputs by name', async () => {
    const refused = (inputs: readonly object[], output?: object) => ask(`refused-${n++}`, inputs, output);
    let n = 0;
    const image = { name: 'pixel_values', type: 'float32', shape: [1] };
    await expect(refused([image])).rejects.toMatchObject({
      code: 'ERR_ENGINE',
      message: expect.stringContaining('the model needs the unknown input "pixel_values"'),
    });
    const flat = { name: 'past_key_values.0.key', type: 'float32', shape: ['batch', 8] };
    await expect(refused([flat])).rejects.toThrow('the input "past_key_values.0.key" does not have four dimensions');
    await expect(refused([], { type: 'float64' })).rejects.toThrow(
      'the output is float64, expected float32 or float16',
    );
    await expect(refused([], { type: 'float32', dims: [1, 1, 5] })).rejects.toThrow('logits has the shape [1,1,5]');
  });
});
