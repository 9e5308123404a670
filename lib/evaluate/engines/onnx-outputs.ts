import { textLikelihood } from './diverge.js';
import type { Outputs, TimedRun } from './engine.js';
import { asFloats, type Feeds, feedsOf, type Inference, presentOf, type Runtime, takesPast } from './onnx-feeds.js';

/** Outputs that are an embedding, or whose mean over the tokens is one. */
export const EMBEDDINGS: readonly string[] = ['sentence_embedding', 'last_hidden_state', 'token_embeddings'];
const KNOWN_OUTPUTS = ['logits', ...EMBEDDINGS];

/** Returns the output that is read: the first known one that the model has. */
export function knownOutput({ outputNames }: Inference): string | undefined {
  return KNOWN_OUTPUTS.find((known) => outputNames.includes(known));
}

/** Everything that an ONNX model returns for a sequence, and how long it takes. */
export class OnnxOutputs {
  readonly #runtime: Runtime;
  readonly #session: Inference;
  readonly #kind: 'causal' | 'masked';
  /** The cache after the last sequence whose next token was timed. */
  #past: { readonly feeds: Feeds; readonly length: number } | undefined;

  constructor(runtime: Runtime, session: Inference, kind: 'causal' | 'masked') {
    this.#runtime = runtime;
    this.#session = session;
    this.#kind = kind;
  }

  async of(tokens: readonly number[]): Promise<Outputs> {
    const name = this.#output();
    const { [name]: tensor } = await this.#session.run(feedsOf(this.#runtime, this.#session, [tokens]), [name]);
    if (tensor === undefined) throw new Error(`the model returns no ${name}`);
    const { dims } = tensor;
    const size = dims.at(-1) ?? 0;
    const perToken = dims.length === 3 && dims[0] === 1 && dims[1] === tokens.length;
    if (!perToken && !(dims.length === 2 && dims[0] === 1)) {
      const expected = `[1, ${tokens.length}, size] or [1, size]`;
      throw new Error(`the output ${name} has the shape [${dims}], expected ${expected}`);
    }
    const values = asFloats(tensor);
    if (name !== 'logits') {
      const data = perToken ? meanOfRows(values, size) : values;
      return { kind: 'embedding', rows: 1, size, data: shared(data), text: { logProb: 0, tokens: 0 } };
    }
    const rows = perToken ? tokens.length : 1;
    const predicts = perToken && this.#kind === 'causal';
    const text = predicts ? textLikelihood(values, size, tokens) : { logProb: 0, tokens: 0 };
    return { kind: 'logits', rows, size, data: shared(values), text };
  }

  /** A step of decoding follows a past that is computed once and not timed. */
  async time({ kind, sequences }: TimedRun): Promise<number | undefined> {
    const name = this.#output();
    if (kind === 'decode' && !takesPast(this.#session)) return undefined;
    const caches = this.#session.outputNames.filter((output) => output.startsWith('present.'));
    const past = kind === 'decode' ? await this.#pastOf(sequences[0]!.slice(0, -1)) : undefined;
    const wanted = past === undefined ? sequences : [sequences[0]!.slice(-1)];
    const feeds = feedsOf(this.#runtime, this.#session, wanted, { past, logits: 1 });
    const start = performance.now();
    await this.#session.run(feeds, [name, ...caches]);
    return performance.now() - start;
  }

  async #pastOf(tokens: readonly number[]): Promise<{ readonly feeds: Feeds; readonly length: number }> {
    if (this.#past?.length === tokens.length) return this.#past;
    const inputs = this.#session.inputNames.filter((name) => this.#session.outputNames.includes(presentOf(name)));
    const feeds = feedsOf(this.#runtime, this.#session, [tokens], { logits: 1 });
    const present = await this.#session.run(feeds, inputs.map(presentOf));
    this.#past = {
      feeds: Object.fromEntries(inputs.map((name) => [name, present[presentOf(name)]!])),
      length: tokens.length,
    };
    return this.#past;
  }

  #output(): string {
    const name = knownOutput(this.#session);
    if (name !== undefined) return name;
    throw new Error(`it has none of the outputs ${KNOWN_OUTPUTS.join(', ')}`);
  }
}

/** Returns the mean of rows, summed in float64. */
export function meanOfRows(values: Float32Array, size: number): Float32Array {
  const sums = new Float64Array(size);
  for (let i = 0; i < values.length; i++) sums[i % size]! += values[i]!;
  return Float32Array.from(sums, (sum) => (sum * size) / values.length);
}

function shared(values: Float32Array): Float32Array {
  const copy = new Float32Array(new SharedArrayBuffer(values.byteLength));
  copy.set(values);
  return copy;
}
