import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CALL_OPTIONS, type CallOptions, callAsync, threadCount } from '../addon/call.js';
import { addon } from '../addon/load.js';
import type { Checkpoint, ModelGraph } from '../checkpoint/checkpoint.js';
import { assemble } from '../checkpoint/copy/fill.js';
import { identify } from '../checkpoint/copy/identity.js';
import { open } from '../checkpoint/open.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { asFloats, type Inference, type Runtime } from '../evaluate/engines/onnx-feeds.js';
import { importPeer } from '../evaluate/engines/peers.js';
import { absolutePath, refuseExisting } from '../files/files.js';
import { digestOfJson } from '../files/journal.js';
import type { Moments } from '../lowrank/moments.js';
import { boolean, callback, checkOptions, number, type OptionTypes, text, wholeNumber } from '../options.js';
import { linkData } from './link-data.js';
import { writeMoments } from './moments.js';
import { type PartialSums, type Totals, withPartialSums } from './partial-sums.js';
import { type Samples, tensorSamples, textSamples } from './samples.js';
import { type Layer, linearLayers } from './select.js';
import { openSession } from './session.js';

export interface CalibrateOptions extends Omit<CallOptions, 'onProgress'> {
  /**
   * A file of texts, one a line or `.jsonl` with a `text` each; needs the model's tokenizer beside
   * it.
   */
  texts?: string | undefined;
  /** A safetensors file of the model's inputs, with a first dimension that counts samples. */
  inputs?: string | undefined;
  /** The most samples to run: 256 by default. */
  samples?: number | undefined;
  /** The most tokens of a text: 256 by default. */
  length?: number | undefined;
  /**
   * Keeps the moments of all inputs, which few bits need. Otherwise those of the outputs are kept
   * where they are smaller: they serve factors as well. By default, if all fit into `maxMemory`.
   */
  allInputs?: boolean | undefined;
  /**
   * Bytes of sums to hold at a time, 4 GiB by default; the samples run again for each part of a
   * larger model.
   */
  maxMemory?: number | undefined;
  /** Where to look for onnxruntime-node and \@huggingface/tokenizers besides this package. */
  peers?: string | undefined;
  onProgress?: ((progress: { readonly done: number; readonly total: number }) => void) | undefined;
}

const CALIBRATE_OPTIONS: OptionTypes<CalibrateOptions> = {
  ...CALL_OPTIONS,
  onProgress: callback,
  texts: text,
  inputs: text,
  samples: wholeNumber(1),
  length: wholeNumber(1),
  allInputs: boolean,
  maxMemory: number,
  peers: text,
};

export interface CalibrateReport {
  readonly out: string;
  readonly samples: number;
  /** Vectors that each layer saw: tokens, where the samples are texts. */
  readonly vectors: number;
  /** Sums that were kept; several layers may share one. */
  readonly sums: number;
  readonly layers: number;
  /** Layers with moments of their outputs in place of those of their inputs. */
  readonly byOutputs: readonly string[];
  /**
   * Layers without moments: no sample ran them, such as those of a branch that none chose, or what
   * they see cannot be observed, as in the body of a Loop.
   */
  readonly unseen: readonly string[];
  /** Times that the samples were run. */
  readonly passes: number;
  readonly seconds: number;
}

/** Layers that see the same vectors, and what of those is summed. */
interface Sum {
  /** The values of the model's graph: several, where nodes share a weight. */
  readonly values: readonly string[];
  readonly kind: 'inputs' | 'outputs';
  /** The length of the vectors. */
  readonly side: number;
  readonly layers: readonly Layer[];
}

const DEFAULT_MEMORY = 4 * 2 ** 30;

/**
 * Runs a model on samples and writes the moments of what its linear layers see, for `compress`.
 * Layers with the same input share them. An interrupted calibration resumes when it is called
 * again: its sums are saved about every half minute.
 *
 * @param source an ONNX file, or a folder with one
 * @param out a safetensors file; must not exist
 * @throws ArgumentError; LowRankError `ERR_PEER` without onnxruntime-node; `ERR_UNSUPPORTED` for
 *   other formats and models without linear layers; `ERR_ENGINE` where the model does not run.
 */
export async function calibrate(source: string, out: string, options: CalibrateOptions): Promise<CalibrateReport> {
  const given = checkOptions(options, CALIBRATE_OPTIONS, 'calibrate');
  const { texts, inputs, samples: most = 256, length = 256, peers, maxMemory = DEFAULT_MEMORY } = given;
  if ((texts === undefined) === (inputs === undefined)) {
    throw new ArgumentError('options', 'exactly one of texts and inputs', texts === undefined ? 'none' : 'both');
  }
  const begun = performance.now();
  const target = absolutePath(out);
  await refuseExisting(target);
  const checkpoint = await open(source);
  try {
    const graph = graphOf(checkpoint);
    const layers = linearLayers(checkpoint);
    const sums = sumsFor(graph, layers, given.allInputs, maxMemory);
    if (sums.length === 0) throw unobserved(checkpoint, 'whose inputs can be observed');
    const runtime = await importPeer<Runtime>('onnxruntime-node', peers);
    const samples =
      texts === undefined
        ? await tensorSamples(absolutePath(inputs!), most)
        : await textSamples(source, absolutePath(texts), { samples: most, length, together: TOKENS_TOGETHER, peers });
    try {
      const total = sizeOf(samples, samples.count);
      const parts = withinMemory(sums, maxMemory);
      const key = digestOfJson([
        (await identify(checkpoint)).digest,
        samples.digest,
        parts.map((part) => part.map(({ values, kind, side }) => [values, kind, side])),
      ]);
      const moments = await withPartialSums(target, key, given.signal, async (partial) => {
        const found = new Map<string, Moments>();
        for (const [pass, part] of parts.entries()) {
          const tell = (done: number) => given.onProgress?.({ done: pass * total + done, total: parts.length * total });
          const task = { pass, last: pass === parts.length - 1, partial, tell };
          for (const [name, each] of await observe(checkpoint, graph, part, samples, runtime, given, task)) {
            found.set(name, each);
          }
        }
        return found;
      });
      const seen = sums.filter(({ layers: [first] }) => moments.has(first!.name));
      if (seen.length === 0) throw unobserved(checkpoint, 'that the samples run');
      const shared = new Map(
        seen.flatMap(({ layers: [first, ...others] }) => others.map(({ name }) => [name, first!.name] as const)),
      );
      await writeMoments(target, moments, shared);
      const known = new Set([...moments.keys(), ...shared.keys()]);
      return {
        out: target,
        samples: total,
        vectors: Math.max(...[...moments.values()].map(({ count = 0 }) => count)),
        sums: moments.size,
        layers: known.size,
        byOutputs: seen.flatMap(({ kind, layers }) => (kind === 'outputs' ? layers.map(({ name }) => name) : [])),
        unseen: layers.flatMap(({ name }) => (known.has(name) ? [] : [name])),
        passes: parts.length,
        seconds: (performance.now() - begun) / 1000,
      };
    } finally {
      await samples.close();
    }
  } finally {
    await checkpoint.close();
  }
}

function graphOf({ graph, path, format }: Checkpoint): ModelGraph {
  if (graph !== undefined) return graph;
  throw new LowRankError('ERR_UNSUPPORTED', `${path}: ${format} files hold no computation that could be run here`, {
    hint: 'Export the model to ONNX, or make the moments with PyTorch as docs/calibration.md shows.',
  });
}

function unobserved({ path }: Checkpoint, which: string): LowRankError {
  return new LowRankError('ERR_UNSUPPORTED', `${path}: has no linear layers ${which}`);
}

/** All inputs where the sums fit into the memory, if nothing else is asked for. */
function sumsFor(
  graph: ModelGraph,
  layers: readonly Layer[],
  allInputs: boolean | undefined,
  maxMemory: number,
): Sum[] {
  if (allInputs !== undefined) return sumsOf(graph, layers, allInputs);
  const all = sumsOf(graph, layers, true);
  return all.reduce((sum, { side }) => sum + bytesOf(side), 0) <= maxMemory ? all : sumsOf(graph, layers, false);
}

function sumsOf(graph: ModelGraph, layers: readonly Layer[], allInputs: boolean): Sum[] {
  const byInputs = new Map<string, { readonly values: readonly string[]; readonly sharing: Layer[] }>();
  for (const layer of layers) {
    const values = graph.inputsOf(layer.info.name);
    if (values.length === 0) continue;
    const key = JSON.stringify(values);
    const found = byInputs.get(key) ?? { values, sharing: [] };
    byInputs.set(key, found);
    found.sharing.push(layer);
  }
  return [...byInputs.values()].flatMap(({ values, sharing }): Sum[] => {
    const side = sharing[0]!.n;
    const products = sharing.map((layer) => ({ layer, product: graph.productOf(layer.info.name) }));
    const narrow = sharing.reduce((sum, { m }) => sum + m * m, 0) < side * side;
    if (allInputs || !narrow || products.some(({ product }) => product === undefined)) {
      return [{ values, kind: 'inputs', side, layers: sharing }];
    }
    return products.map(({ layer, product }) => ({
      values: [product!],
      kind: 'outputs',
      side: layer.m,
      layers: [layer],
    }));
  });
}

const bytesOf = (side: number) => 8 * side ** 2;

/** Cuts the sums into parts that fit into the memory, each at least one. */
function withinMemory(sums: readonly Sum[], maxMemory: number): Sum[][] {
  const parts: Sum[][] = [];
  let held = Number.POSITIVE_INFINITY;
  for (const sum of sums) {
    const bytes = bytesOf(sum.side);
    if (held + bytes > maxMemory) {
      parts.push([]);
      held = 0;
    }
    parts.at(-1)!.push(sum);
    held += bytes;
  }
  return parts;
}

/** One run over all samples. */
interface Pass {
  readonly pass: number;
  readonly last: boolean;
  readonly partial: PartialSums;
  readonly tell: (done: number) => void;
}

/** Texts of one length run together up to so many tokens: more gain next to nothing. */
const TOKENS_TOGETHER = 512;

/** The texts, or inputs, of the first runs. */
function sizeOf({ sizes }: Samples, runs: number): number {
  return sizes === undefined ? runs : sizes.slice(0, runs).reduce((sum, size) => sum + size, 0);
}

/** Whether a model runs one text at a time: the first dimension of an input is 1. */
function isSingle({ inputMetadata = [] }: Inference): boolean {
  return inputMetadata.some(({ shape }) => shape?.[0] === 1);
}

/**
 * Vectors that are summed at once: adding the products of a few to a sum takes as long as those of
 * many.
 */
const ROWS_TOGETHER = 256;

/**
 * The number of samples that are summed at once: the same in every pass, so that sums come out the
 * same.
 */
function samplesTogether({ count, tokens }: Samples): number {
  if (tokens === undefined) return 1;
  return Math.max(1, Math.floor((ROWS_TOGETHER * count) / tokens.reduce((sum, each) => sum + each, 0)));
}

/** All vectors in a row. */
function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((count, { length }) => count + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

async function observe(
  checkpoint: Checkpoint,
  graph: ModelGraph,
  sums: readonly Sum[],
  given: Samples,
  runtime: Runtime,
  { signal, threads }: CalibrateOptions,
  { pass, last, partial, tell }: Pass,
): Promise<Map<string, Moments>> {
  const values = [...new Set(sums.flatMap((sum) => sum.values))];
  const totals = sums.map(
    ({ side }): Totals => ({ sum: new Float64Array(side), second: new Float64Array(side * side), count: 0 }),
  );
  const resumed = await partial.restore(pass, totals);
  const folder = await mkdtemp(join(tmpdir(), 'lowrank-'));
  let session: Inference | undefined;
  try {
    const model = join(folder, 'observed.onnx');
    await linkData(checkpoint, folder);
    await assemble(graph.observing(values).parts!, model, () => checkpoint.main);
    session = await openSession(runtime, model, threads, checkpoint.main);
    const samples = isSingle(session) ? (given.single ?? given) : given;
    tell(sizeOf(samples, resumed));
    const together = samplesTogether(samples);
    const waiting = sums.map((): Float32Array[] => []);
    let summed = resumed;
    for (let i = resumed; i < samples.count; i++) {
      if (signal?.aborted) await partial.save(pass, totals, summed, true);
      signal?.throwIfAborted();
      if (summed === i) await partial.save(pass, totals, i);
      const outputs = await session.run(await samples.feeds(i, runtime, session), values);
      for (const [at, { values: own }] of sums.entries()) {
        for (const value of own) waiting[at]!.push(asFloats(outputs[value]!));
      }
      if ((i + 1) % together === 0 || i + 1 === samples.count) {
        for (const [at, { side }] of sums.entries()) {
          const total = totals[at]!;
          const x = joined(waiting[at]!.splice(0));
          const rows = x.length / side;
          const job = { rows, n: side, diagonal: false, x, sum: total.sum, second: total.second };
          await callAsync(
            addon().accumulateMomentsAsync,
            { ...job, threads: threadCount(threads) },
            signal ? { signal } : {},
          );
          total.count += rows;
        }
        summed = i + 1;
      }
      tell(sizeOf(samples, i + 1));
    }
    // Another pass may be interrupted.
    if (!last) await partial.save(pass, totals, samples.count, true);
  } catch (cause) {
    if (cause instanceof LowRankError || signal?.aborted) throw cause;
    throw new LowRankError('ERR_ENGINE', `${checkpoint.main}: does not run: ${(cause as Error).message}`, { cause });
  } finally {
    await session?.release();
    await rm(folder, { recursive: true, force: true });
  }
  return new Map(
    sums.flatMap(({ kind, side, layers }, i) => {
      const total = totals[i]!;
      return total.count === 0 ? [] : [[layers[0]!.name, meanOf(kind, side, total)] as const];
    }),
  );
}

/** Means from sums, of which the lower triangle is there. */
function meanOf(kind: Sum['kind'], side: number, { sum, second, count }: Totals): Moments {
  const mean = sum.map((value) => value / count);
  for (let i = 0; i < side; i++) {
    for (let j = 0; j <= i; j++) {
      second[i * side + j]! /= count;
      second[j * side + i] = second[i * side + j]!;
    }
  }
  return { kind, second, mean, count };
}
