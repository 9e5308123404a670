import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { LowRankError } from '../../errors.js';
import { checkOptions } from '../../options.js';
import { diverge, textLikelihood } from './diverge.js';
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
import { importPeer } from './peers.js';
import { commonStart } from './token-clock.js';
import { TokenSession } from './token-session.js';
import { TokenizedQuestions } from './tokenize.js';

export interface LlamaOptions {
  /**
   * The threads of the evaluation. By default one for files below 64 MB, where synchronisation
   * costs more than threads gain.
   */
  readonly threads?: number;
  /**
   * The most tokens of a question. The default is the model's own limit, but at most 4,096. Memory
   * grows with it.
   */
  readonly contextLength?: number;
  /** Where to look for node-llama-cpp besides this package; the working directory by default. */
  readonly peers?: string;
}

/** Files of at least this size use more than one thread. */
const LARGE_FILE_BYTES = 64e6;
const DEFAULT_CONTEXT = 4096;
const SPARE_CONTEXT = 16;

/** A row of all logits is a map of the whole vocabulary, some megabytes. */
const ROWS_AT_ONCE = 16;

/** The part of node-llama-cpp 3 that is used here. */
interface LlamaModule {
  getLlama(options: object): Promise<Llama>;
}
interface Llama {
  loadModel(options: object): Promise<LlamaModel>;
  dispose(): Promise<void>;
}
interface LlamaModel {
  readonly trainContextSize: number;
  readonly fileInfo: { readonly metadata: { readonly tokenizer?: unknown } };
  readonly tokens: {
    readonly bos: number | null;
    readonly shouldPrependBosToken: boolean;
  };
  isEogToken(token: number): boolean;
  tokenize(text: string, specialTokens: boolean): number[];
  detokenize(tokens: readonly number[], specialTokens: boolean): string;
  createContext(options: object): Promise<LlamaContext>;
  dispose(): Promise<void>;
}
interface LlamaContext {
  getSequence(): LlamaSequence;
  dispose(): Promise<void>;
}
interface LlamaSequence {
  readonly contextTokens: readonly number[];
  clearHistory(): Promise<void>;
  eraseContextTokenRanges(ranges: { start: number; end: number }[]): Promise<void>;
  controlledEvaluate(input: unknown[]): Promise<(Evaluated | undefined)[]>;
}
interface Evaluated {
  readonly next: { readonly logits: ReadonlyMap<number, number>; readonly totalLogitWeight: number };
}

/** Without these the sampler truncates the distribution before the weights are summed. */
const UNCUT = { temperature: 1, topK: 0, topP: 1, minP: 0 };

/**
 * Runs GGUF models on llama.cpp, through the optional package node-llama-cpp: on the CPU, in
 * float32 wherever the file allows (keys and values too), without flash attention, so that results
 * differ from a reference only by rounding. Work runs on threads of llama.cpp; the event loop stays
 * free.
 */
export function llamaEngine(options?: LlamaOptions): Engine {
  const given: LlamaOptions = checkOptions(options, RUNTIME_OPTIONS, 'llamaEngine');
  const prepared = new TokenizedQuestions();
  const open = new Set<LlamaTokens>();
  let llama: Promise<Llama> | undefined;
  const start = async () => {
    const { getLlama } = await importPeer<LlamaModule>('node-llama-cpp', given.peers);
    // 0 gives every context the threads that it requests.
    return getLlama({ gpu: false, build: 'never', maxThreads: 0, logLevel: 'error', progressLogs: false });
  };
  return {
    name: 'llama',
    runs: 'gguf',
    async open(checkpoint) {
      llama ??= start();
      const model = await LlamaTokens.load(await llama, await findModel(checkpoint, 'gguf'), given);
      open.add(model);
      model.onClose = () => open.delete(model);
      return new TokenSession(checkpoint, model, prepared);
    },
    async close() {
      for (const model of open) await model.close();
      const started = await llama?.catch(() => undefined);
      llama = undefined;
      await started?.dispose();
    },
  };
}

class LlamaTokens implements TokenModel {
  readonly kind = 'causal';
  readonly keepsStart = true;
  readonly suffix = [];
  readonly mask = undefined;
  contextLength = 0;
  tokenizer = '';
  prefix: readonly number[] = [];
  ends: TokenModel['ends'] = new Set<number>();
  onClose: () => void = () => undefined;

  readonly #llama: Llama;
  readonly #path: string;
  readonly #options: LlamaOptions;
  #model: LlamaModel | undefined;
  #context: LlamaContext | undefined;
  #sequence: LlamaSequence | undefined;

  private constructor(llama: Llama, path: string, options: LlamaOptions) {
    this.#llama = llama;
    this.#path = path;
    this.#options = options;
  }

  static async load(llama: Llama, path: string, options: LlamaOptions): Promise<LlamaTokens> {
    const tokens = new LlamaTokens(llama, path, options);
    await tokens.#load();
    return tokens;
  }

  async reload(): Promise<void> {
    await this.#unload();
    await this.#load();
  }

  async close(): Promise<void> {
    await this.#unload();
    this.onClose();
  }

  async encode(texts: readonly string[], special: readonly boolean[] = []): Promise<number[][]> {
    return texts.map((text, i) => [...this.#loaded().tokenize(text, special[i] ?? false)]);
  }

  async decode(sequences: readonly (readonly number[])[]): Promise<string[]> {
    return sequences.map((tokens) => this.#loaded().detokenize(tokens, true));
  }

  async score(
    requests: readonly ScoreRequest[],
    signal?: AbortSignal,
    onRan?: (tokens: number, requests: number) => void,
  ): Promise<Scores[][]> {
    const results: Scores[][] = [];
    for (const request of requests) {
      signal?.throwIfAborted();
      const kept = commonStart(this.#sequence!.contextTokens, request);
      results.push(await this.#run(request));
      onRan?.(request.tokens.length - kept, 1);
    }
    return results;
  }

  async outputs(tokens: readonly number[]): Promise<Outputs> {
    const sequence = this.#sequence!;
    await sequence.clearHistory();
    const generateNext = { logits: true, options: UNCUT };
    let [data, size] = [new Float32Array(), 0];
    for (let begin = 0; begin < tokens.length; begin += ROWS_AT_ONCE) {
      const piece = tokens.slice(begin, begin + ROWS_AT_ONCE);
      const evaluated = await sequence.controlledEvaluate(piece.map((token) => [token, { generateNext }]));
      for (const [i, row] of evaluated.entries()) {
        if (row === undefined) throw new LowRankError('ERR_ENGINE', 'llama.cpp returned no logits for a token');
        if (size === 0) {
          size = row.next.logits.size;
          data = new Float32Array(tokens.length * size);
        }
        for (const [token, logit] of row.next.logits) data[(begin + i) * size + token] = logit;
      }
    }
    return { kind: 'logits', rows: tokens.length, size, data, text: textLikelihood(data, size, tokens) };
  }

  async diverge(tokens: readonly number[], from: Outputs): Promise<Divergence> {
    return diverge(await this.outputs(tokens), from);
  }

  async time({ kind, sequences }: TimedRun): Promise<number | undefined> {
    const sequence = this.#sequence!;
    const [tokens] = sequences as [readonly number[]];
    // One context holds one sequence.
    if (sequences.length > 1) return undefined;
    await sequence.clearHistory();
    const last = [
      tokens.at(-1)!,
      { generateNext: { logits: { filter: { tokens: [], includeTop: 1 } }, options: UNCUT } },
    ];
    const before = tokens.slice(0, -1);
    if (kind === 'decode') await sequence.controlledEvaluate([...before]);
    const start = performance.now();
    await sequence.controlledEvaluate(kind === 'decode' ? [last] : [...before, last]);
    return performance.now() - start;
  }

  async #run({ tokens, reads, top }: ScoreRequest): Promise<Scores[]> {
    const sequence = this.#sequence!;
    const kept = await this.#keepCommon(sequence, { tokens, reads, top });
    const input: unknown[] = tokens.slice(kept);
    for (const { position, targets } of reads) {
      // The largest logit is always needed: the weights are relative to it.
      const logits = { filter: { tokens: targets, includeTop: Math.max(1, top) } };
      const generateNext = { logits, totalLogitWeight: true, options: UNCUT };
      input[position - kept] = [tokens[position], { generateNext }];
    }
    const outputs = await sequence.controlledEvaluate(input);
    return reads.map(({ position, targets }) => {
      const evaluated = outputs[position - kept];
      if (evaluated === undefined) throw new LowRankError('ERR_ENGINE', 'llama.cpp returned no logits for a token');
      const { logits, totalLogitWeight } = evaluated.next;
      const sorted = [...logits].sort(([a, x], [b, y]) => y - x || a - b);
      const norm = sorted[0]![1] + Math.log(totalLogitWeight);
      return {
        logProbs: targets.map((token) => logits.get(token)! - norm),
        top: sorted.slice(0, top).map(([token, logit]) => ({ token, logProb: logit - norm })),
      };
    });
  }

  /**
   * Keeps the common start of the next tokens in the sequence: the choices of a question share
   * their prompt.
   */
  async #keepCommon(sequence: LlamaSequence, request: ScoreRequest): Promise<number> {
    const present = sequence.contextTokens;
    const common = commonStart(present, request);
    if (common === 0) {
      await sequence.clearHistory();
      return 0;
    }
    if (common < present.length) await sequence.eraseContextTokenRanges([{ start: common, end: present.length }]);
    // Some models cannot remove single tokens; their sequence is cleared.
    return sequence.contextTokens.length === common ? common : sequence.clearHistory().then(() => 0);
  }

  async #load(): Promise<void> {
    try {
      const { size } = await stat(this.#path);
      const model = await this.#llama.loadModel({ modelPath: this.#path, useMmap: true });
      this.#model = model;
      const threads = this.#options.threads ?? (size < LARGE_FILE_BYTES ? 1 : availableParallelism());
      const length = Math.min(this.#options.contextLength ?? DEFAULT_CONTEXT, model.trainContextSize);
      this.#context = await model.createContext({
        // If a context is full, node-llama-cpp drops its start to make room for further tokens.
        contextSize: length + SPARE_CONTEXT,
        batchSize: Math.min(length, 512),
        threads: { ideal: threads, min: threads },
        flashAttention: false,
        experimentalKvCacheKeyType: 'F32',
        experimentalKvCacheValueType: 'F32',
      });
      this.#sequence = this.#context.getSequence();
      this.contextLength = length;
      const { bos, shouldPrependBosToken } = model.tokens;
      this.prefix = shouldPrependBosToken && bos !== null ? [bos] : [];
      // Chat models have several.
      this.ends = { has: (token) => model.isEogToken(token) };
      this.tokenizer ||= fingerprint(model.fileInfo.metadata.tokenizer);
    } catch (cause) {
      await this.#unload();
      throw new LowRankError('ERR_ENGINE', `${this.#path}: llama.cpp cannot load it: ${(cause as Error).message}`, {
        hint: 'The engine llama runs GGUF files.',
        cause,
      });
    }
  }

  async #unload(): Promise<void> {
    const [context, model] = [this.#context, this.#model];
    this.#sequence = undefined;
    this.#context = undefined;
    this.#model = undefined;
    await context?.dispose();
    await model?.dispose();
  }

  #loaded(): LlamaModel {
    if (this.#model === undefined) throw new LowRankError('ERR_ARGUMENT', `${this.#path}: the session is closed`);
    return this.#model;
  }
}

/** Returns a short text that identifies the tokenizer described in the metadata. */
function fingerprint(metadata: unknown): string {
  const plain = JSON.stringify(metadata, (_, value) => (typeof value === 'bigint' ? String(value) : value));
  return createHash('sha256')
    .update(plain ?? '')
    .digest('hex');
}
