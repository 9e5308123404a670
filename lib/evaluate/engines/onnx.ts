import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { open } from '../../checkpoint/open.js';
import { LowRankError } from '../../errors.js';
import { checkOptions } from '../../options.js';
import {
  type Divergence,
  type Engine,
  type Outputs,
  RUNTIME_OPTIONS,
  type ScoreRequest,
  type Scores,
  type TimedRun,
  type TokenModel,
} from './engine.js';
import { findModel } from './find-model.js';
import type { Message, Reply, WorkerAnswers, WorkerFacts, WorkerStart, WorkerTask } from './onnx-messages.js';
import { findPeer } from './peers.js';
import { TokenSession } from './token-session.js';
import { TokenizedQuestions } from './tokenize.js';

export interface OnnxOptions {
  /**
   * The threads of the evaluation. By default as many as there are cores, and one for small files.
   */
  readonly threads?: number;
  /** The most tokens of a question. The default is the model's own limit, but at most 4,096. */
  readonly contextLength?: number;
  /**
   * Where to look for onnxruntime-node and @huggingface/tokenizers besides this package; the
   * working directory by default.
   */
  readonly peers?: string;
}

const LARGE_FILE_BYTES = 64e6;
const DEFAULT_CONTEXT = 4096;

/**
 * Runs causal and masked transformers in ONNX, through the optional packages onnxruntime-node and
 * \@huggingface/tokenizers, on the CPU. A run of the runtime blocks its thread, so every model
 * lives in a worker thread.
 *
 * A checkpoint is a folder with `model.onnx`, or in the layout of transformers.js
 * (`onnx/model.onnx`, `tokenizer.json`, `config.json`), or an .onnx file with the others beside or
 * above it.
 */
export function onnxEngine(options?: OnnxOptions): Engine {
  const given: OnnxOptions = checkOptions(options, RUNTIME_OPTIONS, 'onnxEngine');
  const prepared = new TokenizedQuestions();
  const open = new Set<OnnxTokens>();
  return {
    name: 'onnx',
    runs: 'onnx',
    async open(checkpoint) {
      const model = await OnnxTokens.load(checkpoint, given);
      open.add(model);
      model.onClose = () => open.delete(model);
      return new TokenSession(checkpoint, model, prepared);
    },
    async close() {
      for (const model of open) await model.close();
    },
  };
}

/** The files of a model. */
export interface OnnxFiles {
  readonly model: string;
  readonly tokenizer: string;
  readonly tokenizerConfig: string | undefined;
  readonly config: Readonly<Record<string, unknown>>;
}

export async function findFiles(checkpoint: string): Promise<OnnxFiles> {
  const model = await findModel(checkpoint, 'onnx');
  const folders = [dirname(model), dirname(dirname(model))];
  const beside = (name: string) => folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  const tokenizer = beside('tokenizer.json');
  if (tokenizer === undefined) {
    throw new LowRankError('ERR_ENGINE', `${model}: no tokenizer.json beside it or in the folder above`, {
      hint: 'Export the tokenizer with the model.',
    });
  }
  const tokenizerConfig = beside('tokenizer_config.json');
  return {
    model,
    tokenizer,
    tokenizerConfig,
    config: {
      ...(await readJson(tokenizerConfig)),
      ...(await readJson(beside('config.json'))),
      ...(await readJson(beside('generation_config.json'))),
    },
  };
}

/**
 * Returns the size of a model with its data, in whatever files they are; for a graph that cannot be
 * parsed, that of its own file.
 */
async function sizeOf(model: string): Promise<number> {
  const { size } = await stat(model);
  const checkpoint = await open(model).catch(() => undefined);
  if (checkpoint === undefined) return size;
  const data = [...checkpoint.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  await checkpoint.close();
  return Math.max(size, data);
}

async function readJson(path: string | undefined): Promise<Record<string, unknown>> {
  if (path === undefined) return {};
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
  } catch (cause) {
    throw new LowRankError('ERR_ENGINE', `${path}: is not valid JSON: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Returns the kind of model that the architecture in config.json implies; without one it continues
 * texts.
 */
function kindOf({ architectures }: OnnxFiles['config']): TokenModel['kind'] {
  return Array.isArray(architectures) && architectures.some((name) => /ForMaskedLM$/.test(String(name)))
    ? 'masked'
    : 'causal';
}

function contextOf(config: OnnxFiles['config'], options: OnnxOptions): number {
  const number = (name: string) => (typeof config[name] === 'number' ? (config[name] as number) : undefined);
  const table = number('max_position_embeddings') ?? number('n_positions') ?? number('n_ctx');
  // RoBERTa's positions start at 2, since padding has the number 1.
  const offset = /roberta|camembert|longformer/.test(String(config.model_type)) ? 2 : 0;
  const own = table === undefined ? number('model_max_length') : table - offset;
  return Math.min(options.contextLength ?? DEFAULT_CONTEXT, own ?? DEFAULT_CONTEXT);
}

class OnnxTokens implements TokenModel {
  readonly kind: TokenModel['kind'];
  readonly contextLength: number;
  readonly tokenizer: string;
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly mask: TokenModel['mask'];
  readonly ends: TokenModel['ends'];
  onClose: () => void = () => undefined;

  readonly #worker: OnnxWorker;

  private constructor(
    worker: OnnxWorker,
    facts: WorkerFacts,
    files: OnnxFiles,
    tokenizer: string,
    options: OnnxOptions,
  ) {
    this.#worker = worker;
    this.kind = kindOf(files.config);
    this.contextLength = contextOf(files.config, options);
    this.tokenizer = tokenizer;
    this.prefix = facts.prefix;
    this.suffix = facts.suffix;
    this.mask = facts.mask;
    // One or several, as in transformers.
    this.ends = new Set<unknown>([facts.end, files.config.eos_token_id].flat());
  }

  static async load(checkpoint: string, options: OnnxOptions): Promise<OnnxTokens> {
    const files = await findFiles(checkpoint);
    const runtime = findPeer('onnxruntime-node', options.peers);
    const tokenizers = findPeer('@huggingface/tokenizers', options.peers);
    const { model, tokenizer, tokenizerConfig } = files;
    const threads = options.threads ?? ((await sizeOf(model)) < LARGE_FILE_BYTES ? 1 : availableParallelism());
    const kind = kindOf(files.config);
    const worker = new OnnxWorker({ runtime, tokenizers, model, tokenizer, tokenizerConfig, kind, threads });
    const facts = await worker.ready;
    const digest = createHash('sha256').update(await readFile(tokenizer));
    return new OnnxTokens(worker, facts, files, digest.digest('hex'), options);
  }

  encode(texts: readonly string[]): Promise<number[][]> {
    return this.#worker.ask({ kind: 'encode', texts });
  }

  decode(sequences: readonly (readonly number[])[]): Promise<string[]> {
    return this.#worker.ask({ kind: 'decode', sequences });
  }

  async score(
    requests: readonly ScoreRequest[],
    signal?: AbortSignal,
    onRan?: (tokens: number, requests: number) => void,
  ): Promise<Scores[][]> {
    signal?.throwIfAborted();
    return this.#worker.ask({ kind: 'score', requests }, onRan);
  }

  outputs(tokens: readonly number[]): Promise<Outputs> {
    return this.#worker.ask({ kind: 'outputs', tokens });
  }

  diverge(tokens: readonly number[], from: Outputs): Promise<Divergence> {
    return this.#worker.ask({ kind: 'diverge', tokens, from });
  }

  time(run: TimedRun): Promise<number | undefined> {
    return this.#worker.ask({ kind: 'time', run });
  }

  async reload(): Promise<void> {
    await this.#worker.ask({ kind: 'reload' });
  }

  async close(): Promise<void> {
    await this.#worker.close();
    this.onClose();
  }
}

/** What waits for the worker's answer to a task. */
interface Waiting {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
  readonly onRan: ((tokens: number, requests: number) => void) | undefined;
}

/** Sends requests to the worker and returns its answers. */
class OnnxWorker {
  readonly ready: Promise<WorkerFacts>;
  readonly #worker: Worker;
  readonly #model: string;
  readonly #waiting = new Map<number, Waiting>();
  #number = 0;
  #ended: Error | undefined;

  constructor(start: WorkerStart) {
    this.#model = start.model;
    this.#worker = new Worker(new URL('./onnx-worker.js', import.meta.url), { workerData: start });
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on('message', (reply: Reply) => {
        if ('ready' in reply) resolve(reply.ready);
        else if (!('number' in reply)) reject(this.#failure(reply.failure));
        else if ('ran' in reply) this.#waiting.get(reply.number)?.onRan?.(reply.ran.tokens, reply.ran.requests);
        else this.#settle(reply);
      });
      const end = (error: Error) => {
        this.#ended = error;
        reject(error);
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
      };
      this.#worker.on('error', (error) => end(this.#failure(error.message)));
      this.#worker.on('exit', () => end(this.#failure('the worker has exited')));
    });
    // Callers that await it get the error; there may be none when the worker exits.
    this.ready.catch(() => undefined);
  }

  ask<K extends WorkerTask['kind']>(
    task: WorkerTask & { kind: K },
    onRan?: (tokens: number, requests: number) => void,
  ): Promise<WorkerAnswers[K]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const number = this.#number++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve: resolve as (answer: never) => void, reject, onRan });
      this.#worker.postMessage({ number, task } satisfies Message);
    });
  }

  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    const ended = new Promise((resolve) => this.#worker.once('exit', resolve));
    // The runtime is released in its own thread, which then exits by itself.
    await this.ask({ kind: 'close' }).catch(() => undefined);
    await ended;
  }

  #settle(reply: Extract<Reply, { number: number }>): void {
    const waiting = this.#waiting.get(reply.number);
    this.#waiting.delete(reply.number);
    if ('failure' in reply) waiting?.reject(this.#failure(reply.failure));
    else if ('answer' in reply) waiting?.resolve(reply.answer as never);
  }

  #failure(message: string): LowRankError {
    return new LowRankError('ERR_ENGINE', `${this.#model}: onnxruntime: ${message}`);
  }
}
