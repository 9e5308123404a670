import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { editCheckpoint } from '../../lib/entries/checkpoint.js';
import type { ComparedModel, ModelComparison } from '../../lib/entries/evaluate.js';
import { parseAt } from '../../lib/interventions/spec.js';
import { lowrank, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { field, floats, graphProto, modelProto, nodeProto, tensorProto, type ValueParts } from '../support/onnx.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const example = join(root, 'examples', 'noisy-recall');
const model = join(example, 'model');

const at = temporaryPaths();
const edited = at('edited');
const texts = at('texts.txt');

beforeAll(async () => {
  const rows = (await readFile(join(example, 'validation.jsonl'), 'utf8')).trimEnd().split('\n');
  const lines = rows.slice(0, 40).map((row) => {
    const { prompt, answer } = JSON.parse(row) as { prompt: string; answer: string };
    // The model takes 32 tokens: longer texts are cut here, and run in windows by `lowrank eval`.
    return `${[...prompt.split(' ').slice(-20), answer].join(' ')}\n`;
  });
  await writeFile(texts, lines.join(''));
  await editCheckpoint(join(model, 'model.onnx'), edited, { interventions: [parseAt('1:fc_in:0.2')] });
});

async function compared(args: readonly string[]): Promise<ModelComparison> {
  const run = await spawnLowrank(['compare', ...args, '--json'], { cwd: peers });
  expect(run, run.stderr).toMatchObject({ code: 0 });
  return JSON.parse(run.stdout) as ModelComparison;
}

/** One sentence of words that a small tokenizer knows. */
const WORDS = ['red', 'green', 'blue', 'black'];

/** Writes an .onnx file with a tokenizer of whole words beside it. */
async function writeWordModel(name: string, model: Uint8Array, config: object = {}): Promise<string> {
  const folder = at(name);
  await mkdir(folder);
  await writeFile(join(folder, 'model.onnx'), model);
  const vocab = Object.fromEntries([...WORDS, '[UNK]'].map((word, id) => [word, id]));
  const tokenizer = {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'Whitespace' },
    post_processor: null,
    decoder: null,
    model: { type: 'WordLevel', vocab, unk_token: '[UNK]' },
  };
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  await writeFile(join(folder, 'tokenizer_config.json'), '{}');
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}

const IDS: ValueParts = { name: 'input_ids', type: 7, dims: ['batch', 'length'] };

/** Looks up a row of a table for each token. */
function lookup(output: string, rows: readonly number[][]): { node: Buffer; table: Buffer } {
  const table = tensorProto({
    name: `${output}.table`,
    dims: [rows.length, rows[0]!.length],
    raw: floats(...rows.flat()),
  });
  return { node: nodeProto({ op: 'Gather', inputs: [`${output}.table`, 'input_ids'], outputs: [output] }), table };
}

/** An encoder without layers: the embeddings of the tokens. */
function encoder(rows: readonly number[][]): Buffer {
  const { node, table } = lookup('last_hidden_state', rows);
  const output = { name: 'last_hidden_state', type: 1, dims: ['batch', 'length', rows[0]!.length] };
  return modelProto(graphProto([node], [table], [IDS], [output]));
}

/** A decoder that knows which token follows each, and keeps a cache that it does not read. */
function decoderWithCache(logits: readonly number[][]): Buffer {
  const next = lookup('logits', logits);
  const keys = lookup('keys', [
    [1, 2],
    [3, 4],
    [5, 6],
    [7, 8],
    [9, 10],
  ]);
  const axes = tensorProto({ name: 'axes', dims: [1], type: 7, raw: Buffer.from(BigInt64Array.of(1n).buffer) });
  const nodes = [
    next.node,
    keys.node,
    nodeProto({ op: 'Unsqueeze', inputs: ['keys', 'axes'], outputs: ['new'] }),
    concat('past_key_values.0.key', 'new', 'present.0.key'),
    nodeProto({ op: 'Shape', inputs: ['attention_mask'], outputs: ['unused'] }),
  ];
  const cache = (name: string): ValueParts => ({ name, type: 1, dims: ['batch', 1, 'past', 2] });
  const mask = { name: 'attention_mask', type: 7, dims: ['batch', 'all'] };
  return modelProto(
    graphProto(
      nodes,
      [next.table, keys.table, axes],
      [IDS, mask, cache('past_key_values.0.key')],
      [{ name: 'logits', type: 1, dims: ['batch', 'length', logits[0]!.length] }, cache('present.0.key')],
    ),
  );
}

/** Joins two values along the third dimension. */
function concat(a: string, b: string, output: string): Buffer {
  const axis = field(5, Buffer.concat([field(1, 'axis'), field(3, 2), field(20, 2)]));
  return Buffer.concat([nodeProto({ op: 'Concat', inputs: [a, b], outputs: [output] }), axis]);
}

const LOGITS = [0, 1, 2, 3, 4].map((token) => [0, 1, 2, 3, 4].map((next) => (next === (token + 1) % 4 ? 2 : 0)));

describe.skipIf(!hasPeers)(`lowrank compare${unlessNoPeers}`, () => {
  it('finds the example model equal to itself, and an edited one a little away', async () => {
    const data = ['--texts', texts, '--dataset', join(example, 'validation.jsonl'), '--limit', '50', '--runs', '3'];
    const found = await compared([model, join(model, 'model.onnx'), edited, ...data]);
    expect(found).toMatchObject({ engine: 'onnx', outputs: 'causal', texts: 40, questions: 50 });
    const [same, other] = found.candidates as [ComparedModel, ComparedModel];
    expect(same).toMatchObject({
      divergence: { value: 0, low: 0, high: 0 },
      agreement: { value: 1, low: 1, high: 1, examples: 40 },
      perplexity: found.original.perplexity,
      accuracyChange: { difference: 0 },
    });
    expect(other.divergence!.low).toBeGreaterThan(0);
    expect(other.divergence!.value).toBeLessThan(1);
    expect(other.agreement!.value).toBeGreaterThan(0.5);
    expect(other.agreement!.high).toBeLessThan(1);
    // What the evaluator says of the same texts.
    const lines = at('as-questions.jsonl');
    const all = (await readFile(texts, 'utf8')).trimEnd().split('\n');
    await writeFile(lines, all.map((text) => `${JSON.stringify({ text })}\n`).join(''));
    const asked = await spawnLowrank(['eval', edited, '--dataset', lines, '--engine', 'onnx', '--json'], {
      cwd: peers,
    });
    expect(other.perplexity!.value).toBeCloseTo(JSON.parse(asked.stdout).summary.perplexity.value, 4);

    const files = await Promise.all(['model.onnx', 'model.safetensors'].map((name) => stat(join(model, name))));
    expect(found.original.bytes).toBe(files.reduce((sum, { size }) => sum + size, 0));
    expect(found.original.parameters).toBeGreaterThan(300_000);
    // The model takes 32 tokens, and has no cache.
    expect(found.original.latency.map(({ kind, batch, length }) => [kind, batch, length])).toEqual([['whole', 1, 32]]);
    expect(same.latency[0]!.relative).toMatchObject({ examples: 3 });
    expect(same.loadMilliseconds).toBeGreaterThan(0);
  });

  it('does the same with llama.cpp', async () => {
    const gguf = join(example, 'gguf', 'model.gguf');
    const found = await compared([gguf, gguf, '--texts', texts, '--samples', '5', '--runs', '2']);
    expect(found).toMatchObject({ engine: 'llama', outputs: 'causal', texts: 5 });
    expect(found.candidates[0]).toMatchObject({ divergence: { value: 0 }, agreement: { value: 1 } });
    expect(found.original.latency.map(({ kind }) => kind)).toEqual(['whole', 'decode']);
    // Both engines run the same model.
    const onnx = await compared([model, model, '--texts', texts, '--samples', '5', '--runs', '0']);
    expect(onnx.original.perplexity!.value / found.original.perplexity!.value).toBeCloseTo(1, 2);
    expect(onnx.original.latency).toEqual([]);
  });

  it('compares the embeddings of encoders', async () => {
    const rows = [
      [1, 0],
      [0, 1],
      [-1, 0.5],
      [0.2, -1],
      [0, 0],
    ];
    const turn = ([x, y]: number[]) => [
      x! * Math.cos(0.2) - y! * Math.sin(0.2),
      x! * Math.sin(0.2) + y! * Math.cos(0.2),
    ];
    const [original, turned] = [
      await writeWordModel('encoder', encoder(rows)),
      await writeWordModel('turned', encoder(rows.map(turn))),
    ];
    const sentences = at('sentences.txt');
    await writeFile(sentences, 'red green\nblue blue red\nblack red\ngreen green blue black\n');
    const found = await compared([original, turned, '--texts', sentences, '--runs', '2']);
    expect(found).toMatchObject({ outputs: 'embedding', texts: 4, tokens: 2 + 3 + 2 + 4 });
    const [candidate] = found.candidates as [ComparedModel];
    expect(candidate.cosine!.value).toBeCloseTo(Math.cos(0.2), 5);
    expect(candidate.rankCorrelation!.value).toBeCloseTo(1, 6);
    expect(candidate).toMatchObject({ parameters: 10 });
    expect(found.original.latency.map(({ batch, length }) => `${batch}x${length}`)).toEqual(['1x16', '1x128', '8x128']);
  });

  it('decodes one token after a past, with the cache of a decoder', async () => {
    const sharper = LOGITS.map((row) => row.map((logit) => 2 * logit));
    const [original, sharp] = [
      await writeWordModel('decoder', decoderWithCache(LOGITS)),
      await writeWordModel('sharper', decoderWithCache(sharper)),
    ];
    const sentence = at('sentence.txt');
    await writeFile(sentence, 'red green blue black red\n');
    const found = await compared([original, sharp, '--texts', sentence, '--runs', '2']);
    expect(found.original.latency.map(({ kind, length }) => [kind, length])).toEqual([
      ['whole', 128],
      ['decode', 128],
    ]);
    const softmax = (row: readonly number[]) => {
      const sum = row.reduce((total, logit) => total + Math.exp(logit), 0);
      return row.map((logit) => Math.exp(logit) / sum);
    };
    const [p, q] = [softmax(LOGITS[0]!), softmax(sharper[0]!)];
    const kl = p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0);
    const [candidate] = found.candidates as [ComparedModel];
    expect(candidate.divergence!.value).toBeCloseTo(kl, 6);
    expect(candidate.agreement!.value).toBe(1);
    expect(found.original.perplexity!.value).toBeCloseTo(1 / p[1]!, 5);
  });

  it('prints tables of 80 columns, and progress on stderr', async () => {
    const run = await spawnLowrank(['compare', model, edited, '--texts', texts, '--runs', '2'], { cwd: peers });
    expect(run, run.stderr).toMatchObject({ code: 0 });
    const lines = run.stdout.split('\n');
    expect(lines[0]).toMatch(/^model +size +numbers +load +1x32$/);
    expect(lines.find((line) => line.startsWith('edited'))).toMatch(/ x$/);
    expect(run.stdout).toMatch(/^edited +top-1 agreement +\d\d\.\d\d % +\d\d\.\d\d % to \d\d\.\d\d %$/m);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(run.stderr).toContain('40/40 texts');
  });

  it('refuses models that do not go together', async () => {
    const encoderOnly = await writeWordModel('other', encoder([[1], [2], [3], [4], [5]]));
    const decoder = await writeWordModel('mixed', decoderWithCache(LOGITS));
    const sentence = at('colours.txt');
    await writeFile(sentence, 'red green\n');
    const fails = async (pattern: RegExp, ...args: string[]) => {
      const run = await spawnLowrank(['compare', ...args], { cwd: peers });
      expect(run.code).toBe(1);
      expect(run.stderr).toMatch(pattern);
    };
    await fails(/other tokens than that of/, model, decoder, '--texts', texts);
    await fails(/returns embedding of 1 x 1 .*, but .* logits of 2 x 5/, decoder, encoderOnly, '--texts', sentence);
    await fails(/absent: cannot be opened/, decoder, at('absent'), '--texts', sentence);
  });

  it.skipIf(process.platform === 'win32')('stops at Ctrl-C', async () => {
    let stopped = false;
    const run = await spawnLowrank(['compare', model, edited, '--texts', texts, '--runs', '1000000'], {
      cwd: peers,
      onStderr: (soFar, kill) => {
        if (stopped || !soFar.includes('40/40 texts')) return;
        stopped = true;
        kill('SIGINT');
      },
    });
    expect(run.code).toBe(130);
    expect(run.stdout).toBe('');
  });
});

describe('lowrank compare without an engine', () => {
  it('exits with 2 for wrong usage', async () => {
    const fails = async (pattern: RegExp, ...args: string[]) => {
      const run = await lowrank(['compare', ...args]);
      expect(run.code).toBe(2);
      expect(run.stderr).toMatch(pattern);
    };
    await fails(/nothing to compare the models on: pass --texts/, model, edited);
    await fails(/missing required argument 'candidates'/, model, '--texts', texts);
    await fails(/cannot tell which engine runs it/, texts, edited, '--texts', texts);
  });
});
