import { readFile } from 'node:fs/promises';
import { SafetensorsFile } from '../checkpoint/safetensors/file.js';
import type { TensorSpan } from '../checkpoint/safetensors/header.js';
import { ArgumentError, describe } from '../errors.js';
import { loadTexts } from '../evaluate/compare/texts.js';
import { findFiles } from '../evaluate/engines/onnx.js';
import {
  type Feeds,
  feedsOf,
  type Inference,
  type Runtime,
  type RuntimeTensor,
} from '../evaluate/engines/onnx-feeds.js';
import { importPeer } from '../evaluate/engines/peers.js';
import { digestOfFile, digestOfJson } from '../files/journal.js';
import { drawn } from '../random.js';

/** What a model is run on: the inputs of one run after the other. */
export interface Samples {
  /** The number of runs. */
  readonly count: number;
  /** The tokens of each; undefined where the inputs do not tell. */
  readonly tokens?: readonly number[];
  /** The texts, or inputs, of each: 1 if left out. */
  readonly sizes?: readonly number[];
  /** The same texts, one a run, for models that take no more. */
  readonly single?: Samples;
  /** Identifies what the runs are fed. */
  readonly digest: string;
  feeds(index: number, runtime: Runtime, session: Inference): Promise<Feeds>;
  close(): Promise<void>;
}

interface Tokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
}

export interface TextSampling {
  /** The most texts. */
  readonly samples: number;
  /** The most tokens of a text. */
  readonly length: number;
  /**
   * Texts of one length make up one run, of at most so many tokens: it then takes less time for
   * each. Each text is run alone by default.
   */
  readonly together?: number;
  /** Whether texts of about the same length are cut to the shortest of them, to run together. */
  readonly cut?: boolean;
  readonly peers?: string | undefined;
}

/**
 * Reads texts for the tokenizer beside the model, and cuts each to `length` tokens.
 *
 * @throws LowRankError as {@link loadTexts}; `ERR_PEER` without \@huggingface/tokenizers;
 *   `ERR_ENGINE` without a tokenizer.
 */
export async function textSamples(
  model: string,
  path: string,
  { samples, length, together = 0, cut = false, peers }: TextSampling,
): Promise<Samples> {
  const texts = await loadTexts(path, { samples });
  const files = await findFiles(model);
  const { Tokenizer } = await importPeer<{ Tokenizer: new (json: unknown, config: unknown) => Tokenizer }>(
    '@huggingface/tokenizers',
    peers,
  );
  const json = async (file: string) => JSON.parse(await readFile(file, 'utf8')) as unknown;
  const config = files.tokenizerConfig === undefined ? {} : await json(files.tokenizerConfig);
  const tokenizer = new Tokenizer(await json(files.tokenizer), config);
  const sequences = texts
    // Tokenizers without a token for unknown words leave gaps.
    .map((text) => tokenizer.encode(text, { add_special_tokens: true }).ids.filter((id) => id !== undefined))
    .map((tokens) => tokens.slice(0, length))
    .filter((tokens) => tokens.length > 0);
  const single = runsOf(sequences.map((sequence) => [sequence]));
  return together > 0 ? { ...runsOf(grouped(sequences, together, cut ? CUT_FROM : 1)), single } : single;
}

function runsOf(groups: readonly (readonly (readonly number[])[])[]): Samples {
  return {
    count: groups.length,
    tokens: groups.map((group) => group.length * group[0]!.length),
    sizes: groups.map((group) => group.length),
    digest: digestOfJson(groups),
    feeds: async (index, runtime, session) => feedsOf(runtime, session, groups[index]!),
    close: async () => undefined,
  };
}

/** How much longer than the shortest of its group a sequence may be that is cut. */
const CUT_FROM = 1.25;

/**
 * Parts sequences into groups of one length, in an order that does not depend on it.
 *
 * @param longer how many times as long as the shortest of its group a sequence may be
 */
function grouped(sequences: readonly (readonly number[])[], most: number, longer: number): (readonly number[])[][] {
  const groups: (readonly number[])[][] = [];
  for (const sequence of sequences.toSorted((x, y) => x.length - y.length)) {
    const group = groups.at(-1);
    const shortest = group?.[0]?.length ?? 0;
    if (group === undefined || sequence.length > longer * shortest || (group.length + 1) * shortest > most) {
      groups.push([sequence]);
    } else group.push(sequence.slice(0, shortest));
  }
  return drawn(groups.length, 0, groups.length).map((i) => groups[i]!);
}

function spread<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items];
  return Array.from({ length: most }, (_, i) => items[Math.floor((i * items.length) / most)]!);
}

/** Types of onnxruntime by those of safetensors, and the arrays that hold them. */
const TYPES: Readonly<Record<string, readonly [type: string, array: (buffer: ArrayBuffer) => unknown]>> = {
  F32: ['float32', (buffer) => new Float32Array(buffer)],
  F16: ['float16', (buffer) => new Uint16Array(buffer)],
  I64: ['int64', (buffer) => new BigInt64Array(buffer)],
  I32: ['int32', (buffer) => new Int32Array(buffer)],
  BOOL: ['bool', (buffer) => new Uint8Array(buffer)],
  U8: ['uint8', (buffer) => new Uint8Array(buffer)],
};

/**
 * Reads the inputs of any model from a safetensors file: a tensor for each input, by its name,
 * whose first dimension counts the samples. Every run takes one of them.
 *
 * @throws ArgumentError where the tensors have other types, or do not agree in their first
 *   dimension.
 */
export async function tensorSamples(path: string, samples: number): Promise<Samples> {
  const file = await SafetensorsFile.open(path);
  const { tensors } = file.header;
  const counts = new Set(tensors.map(({ shape }) => shape[0]));
  const [available] = counts;
  if (counts.size !== 1 || available === undefined || available === 0) {
    await file.close();
    throw new ArgumentError('inputs', 'tensors whose first dimension counts the samples, alike in all', [...counts]);
  }
  const chosen = spread([...Array(available).keys()], samples);
  const feed = async (span: TensorSpan, sample: number, runtime: Runtime): Promise<RuntimeTensor> => {
    const known = TYPES[span.dtype];
    if (known === undefined) {
      throw new ArgumentError(`input ${describe(span.name)}`, `one of ${Object.keys(TYPES).join(', ')}`, span.dtype);
    }
    const bytes = (span.end - span.begin) / available;
    const begin = span.begin + sample * bytes;
    const data = await file.read({ ...span, begin, end: begin + bytes });
    return new runtime.Tensor(known[0], known[1](data.slice().buffer as ArrayBuffer), [1, ...span.shape.slice(1)]);
  };
  return {
    count: chosen.length,
    digest: digestOfJson([await digestOfFile(path), chosen]),
    async feeds(index, runtime) {
      const all: Feeds = {};
      for (const span of tensors) all[span.name] = await feed(span, chosen[index]!, runtime);
      return all;
    },
    close: () => file.close(),
  };
}
