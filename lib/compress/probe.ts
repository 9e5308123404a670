import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Checkpoint, ModelGraph, TensorInfo } from '../checkpoint/checkpoint.js';
import { assemble } from '../checkpoint/copy/fill.js';
import type { Feeds, Inference, Runtime, RuntimeTensor } from '../evaluate/engines/onnx-feeds.js';
import { digestOfFile, digestOfJson } from '../files/journal.js';
import { toFloat32 } from '../tensor/convert.js';
import { elements } from '../tensor/tensor.js';
import { linkData } from './link-data.js';
import { outputLoss, type Returned, returned } from './output-loss.js';
import type { Samples, TextSampling } from './samples.js';
import { judgedOutput, openSession } from './session.js';

/**
 * Multiplications of all runs that try one layer each, and of one run of a whole choice of ranks.
 * They bound the time: the larger a model, the fewer tokens it is tried on.
 */
const SWEEP_WORK = 1.4e12;
const TRIAL_WORK = 1e11;
/** What a sample counts for where its tokens are unknown. */
const SAMPLE_TOKENS = 128;
/** Fewer tokens than this would say little about a layer. */
const LEAST_TOKENS = 64;

/**
 * The texts to try ranks on: shorter ones for a large model, and for a small one several together.
 */
export function trialTexts(tensors: readonly TensorInfo[]): TextSampling {
  const tokens = Math.max(LEAST_TOKENS, Math.floor(sweepTokens(tensors)));
  const together = Math.min(4 * SAMPLE_TOKENS, tokens);
  return { samples: 192, length: Math.min(SAMPLE_TOKENS, tokens), together, cut: true };
}

/**
 * Runs a model with other weights in some of its layers, and measures how far that changes its
 * outputs. The weights are inputs of the graph that runs, so one session serves all trials.
 */
export class Probe {
  private constructor(
    private readonly folder: string,
    private readonly session: Inference,
    private readonly runtime: Runtime,
    private readonly samples: Samples,
    private readonly weights: ReadonlyMap<string, RuntimeTensor>,
    private readonly output: string,
    /** The outputs of the model as it is. */
    private readonly original: readonly Returned[],
    private readonly parts: Parts,
    /** Identifies the model and the samples: the same tensors lose the same. */
    readonly digest: string,
  ) {}

  /** @param tensors the weights and biases that will be exchanged, of the type F32 */
  static async open(
    checkpoint: Checkpoint,
    graph: ModelGraph,
    tensors: readonly TensorInfo[],
    samples: Samples,
    runtime: Runtime,
    threads: number | undefined,
  ): Promise<Probe> {
    const folder = await mkdtemp(join(tmpdir(), 'lowrank-'));
    let session: Inference | undefined;
    try {
      const model = join(folder, 'probed.onnx');
      await linkData(checkpoint, folder);
      await assemble(graph.feeding(tensors).parts!, model, () => checkpoint.main);
      session = await openSession(runtime, model, threads, checkpoint.main);
      const weights = new Map<string, RuntimeTensor>();
      for (const info of tensors) {
        const numbers = toFloat32(await checkpoint.read(info.name), info.dtype);
        weights.set(info.name, new runtime.Tensor('float32', numbers, info.shape));
      }
      const original: Returned[] = [];
      const parts = partition(samples, tensors);
      const output = judgedOutput(session);
      const digest = digestOfJson([await digestsOf(checkpoint), samples.digest, parts]);
      const probe = new Probe(folder, session, runtime, samples, weights, output, original, parts, digest);
      for (let i = 0; i < parts.choices; i++) original.push(await probe.#run(i, new Map()));
      return probe;
    } catch (cause) {
      await session?.release();
      await rm(folder, { recursive: true, force: true });
      throw cause;
    }
  }

  /**
   * The samples for the check of the result, which no loss sees; those of the choices if there are
   * no others.
   */
  get forCheck(): readonly [from: number, to: number] {
    const { layers, choices, check } = this.parts;
    if (check > choices) return [choices, check];
    return [layers < choices ? layers : 0, choices];
  }

  /** Whether the outputs are logits, so that losses are KL divergences. */
  get hasLogits(): boolean {
    return this.original[0]?.kind === 'logits';
  }

  /** The mean loss of the outputs with other tensors, laid out as in the file. */
  loss(tensors: ReadonlyMap<string, Float32Array>): Promise<number> {
    return this.#loss(tensors, 0, this.parts.layers);
  }

  /** The same on samples that {@link loss} does not see, if there are any. */
  heldBackLoss(tensors: ReadonlyMap<string, Float32Array>): Promise<number> {
    const { layers, choices } = this.parts;
    return this.#loss(tensors, layers < choices ? layers : 0, choices);
  }

  async close(): Promise<void> {
    await this.session.release();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #loss(weights: ReadonlyMap<string, Float32Array>, from: number, to: number): Promise<number> {
    let [sum, all] = [0, 0];
    for (let i = from; i < to; i++) {
      const { loss, count } = outputLoss(this.original[i]!, await this.#run(i, weights));
      sum += loss * count;
      all += count;
    }
    return sum / all;
  }

  async #run(sample: number, weights: ReadonlyMap<string, Float32Array>): Promise<Returned> {
    const { session, runtime, output } = this;
    const inputNames = session.inputNames.filter((name) => !this.weights.has(name));
    const own = { ...session, inputNames, inputMetadata: session.inputMetadata ?? [] };
    const feeds: Feeds = await this.samples.feeds(sample, runtime, own);
    for (const [name, tensor] of this.weights) {
      const other = weights.get(name);
      feeds[name] = other === undefined ? tensor : new runtime.Tensor('float32', other, tensor.dims);
    }
    return returned(output, (await session.run(feeds, [output]))[output]!);
  }
}

/** Digests of all files of a model. */
async function digestsOf({ path, main, tensors }: Checkpoint): Promise<string[]> {
  const data = [...tensors.values()].map(({ file }) => join(main === path ? dirname(path) : path, file));
  const digests: string[] = [];
  for (const file of new Set([main, ...data])) digests.push(await digestOfFile(file));
  return digests;
}

/** The tokens that each layer may be tried on. */
function sweepTokens(tensors: readonly TensorInfo[]): number {
  return tokensFor(SWEEP_WORK / weightsAmong(tensors).length, tensors);
}

/** The tokens that a model of these tensors runs with so many multiplications. */
function tokensFor(work: number, tensors: readonly TensorInfo[]): number {
  return work / weightsAmong(tensors).reduce((sum, { shape }) => sum + elements(shape), 0);
}

function weightsAmong(tensors: readonly TensorInfo[]): TensorInfo[] {
  return tensors.filter(({ shape }) => shape.length === 2);
}

/**
 * The ends of the samples to try single layers on, of those for whole choices of ranks, and of
 * those for the check.
 */
interface Parts {
  readonly layers: number;
  readonly choices: number;
  readonly check: number;
}

/**
 * Parts samples by the work, a third at most for layers and for choices. With fewer than three some
 * serve twice.
 */
function partition({ count, tokens }: Samples, tensors: readonly TensorInfo[]): Parts {
  const until = (from: number, most: number, room: number) => {
    let at = from;
    for (let left = room; at < most && (at === from || left > 0); at++) left -= tokens?.[at] ?? SAMPLE_TOKENS;
    return at;
  };
  const third = Math.max(1, Math.floor(count / 3));
  const layers = until(0, third, sweepTokens(tensors));
  const choices = until(layers, Math.min(count, layers + third), tokensFor(TRIAL_WORK, tensors));
  return { layers, choices, check: until(choices, count, tokensFor(TRIAL_WORK, tensors)) };
}
