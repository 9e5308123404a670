/**
 * The thread in which ONNX models run: a run of onnxruntime-node blocks its thread until it is
 * done, and so does tokenising. Only the requested scores are sent back, not the logits of a whole
 * vocabulary.
 */

import { readFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { diverge } from './diverge.js';
import type { ScoreRequest, Scores } from './engine.js';
import { readLogits } from './logits.js';
import { asFloats, feedsOf, type Inference, type Runtime, type RuntimeTensor } from './onnx-feeds.js';
import type { Message, Reply, WorkerAnswers, WorkerFacts, WorkerStart, WorkerTask } from './onnx-messages.js';
import { OnnxOutputs } from './onnx-outputs.js';

interface Tokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(tokens: readonly number[], options: { skip_special_tokens: boolean }): string;
  token_to_id(token: string): number | undefined;
}

/** The most logits that a run may return: 64 MB of float32. */
const MOST_LOGITS = 16 * 1024 * 1024;
/** How many sequences of one length run together. */
const MOST_SEQUENCES = 16;

const start = workerData as WorkerStart;
const port = parentPort!;
let runtime: Runtime;
let tokenizer: Tokenizer;
let session: Inference;
let outputs: OnnxOutputs;
/** Known after the first run. */
let vocabulary = 50_000;

async function load(): Promise<void> {
  session = await runtime.InferenceSession.create(start.model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: start.threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // Threads that spin while they wait for work take cores from other threads.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
    logSeverityLevel: 3,
  });
  outputs = new OnnxOutputs(runtime, session, start.kind);
}

async function begin(): Promise<WorkerFacts> {
  const module = async <T>(address: string) => {
    const loaded = (await import(address)) as T & { default?: T };
    return { ...loaded.default, ...loaded } as T;
  };
  runtime = await module<Runtime>(start.runtime);
  const { Tokenizer } = await module<{ Tokenizer: new (json: unknown, config: unknown) => Tokenizer }>(
    start.tokenizers,
  );
  const config = start.tokenizerConfig === undefined ? {} : readJson(start.tokenizerConfig);
  tokenizer = new Tokenizer(readJson(start.tokenizer), config);
  await load();
  return { ...affixes(), ...specials(config) };
}

function readJson(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
}

/**
 * Returns the tokens that the tokenizer puts around every text, found by encoding one with and
 * without them.
 */
function affixes(): { prefix: number[]; suffix: number[] } {
  const encode = (text: string, marked: boolean) => tokenizer.encode(text, { add_special_tokens: marked }).ids;
  for (const text of texts()) {
    const [bare, whole] = [encode(text, false), encode(text, true)];
    if (bare.length === 0) continue;
    const begin = whole.findIndex((_, i) => bare.every((token, j) => whole[i + j] === token));
    if (begin >= 0) return { prefix: whole.slice(0, begin), suffix: whole.slice(begin + bare.length) };
  }
  return { prefix: encode('', true), suffix: [] };
}

/**
 * Some texts that most tokenizers know, then tokenizers' own first tokens, which small vocabularies
 * of words need.
 */
function* texts(): Generator<string> {
  yield* ['a', 'the', '1'];
  for (let token = 0; token < 200; token++) yield tokenizer.decode([token], { skip_special_tokens: true });
}

function specials(config: Record<string, unknown>): Pick<WorkerFacts, 'mask' | 'end'> {
  const text = (value: unknown): string | undefined =>
    typeof value === 'string' ? value : ((value as { content?: string } | null | undefined)?.content ?? undefined);
  const [maskText, endText] = [text(config.mask_token), text(config.eos_token)];
  const mask = maskText === undefined ? undefined : tokenizer.token_to_id(maskText);
  return {
    mask: mask === undefined ? undefined : { token: mask, text: maskText! },
    end: endText === undefined ? undefined : tokenizer.token_to_id(endText),
  };
}

/**
 * Runs requests of the same length together: without padding, results do not depend on the other
 * requests.
 */
async function score(
  requests: readonly ScoreRequest[],
  onRan: (tokens: number, requests: number) => void,
): Promise<Scores[][]> {
  const results: Scores[][] = new Array(requests.length);
  const byLength = new Map<number, number[]>();
  for (const [i, { tokens }] of requests.entries()) {
    const same = byLength.get(tokens.length);
    if (same === undefined) byLength.set(tokens.length, [i]);
    else same.push(i);
  }
  for (const [length, indexes] of byLength) {
    for (let at = 0; at < indexes.length; ) {
      const most = Math.max(1, Math.min(MOST_SEQUENCES, Math.floor(MOST_LOGITS / (length * vocabulary))));
      const batch = indexes.slice(at, at + most);
      at += batch.length;
      const logits = await run(batch.map((i) => requests[i]!.tokens));
      const [, positions, size] = logits.dims as [number, number, number];
      vocabulary = size;
      const values = asFloats(logits);
      batch.forEach((index, row) => {
        const { tokens, reads, top } = requests[index]!;
        const known = (token: number) => token < size;
        if (!tokens.every(known) || !reads.every(({ targets }) => targets.every(known))) {
          throw new Error(`its output has ${size} numbers a token, fewer than there are tokens: these are not logits`);
        }
        results[index] = reads.map(({ position, targets }) => {
          const begin = (row * positions + position) * size;
          return readLogits(values.subarray(begin, begin + size), targets, top);
        });
      });
      onRan(batch.length * length, batch.length);
    }
  }
  return results;
}

async function run(sequences: readonly (readonly number[])[]): Promise<RuntimeTensor> {
  const name = session.outputNames.find((output) => output === 'logits') ?? session.outputNames[0]!;
  const { [name]: logits } = await session.run(feedsOf(runtime, session, sequences), [name]);
  const [batch, length] = [sequences.length, sequences[0]!.length];
  if (logits === undefined || logits.dims.length !== 3 || logits.dims[0] !== batch || logits.dims[1] !== length) {
    const expected = `[${batch}, ${length}, vocabulary]`;
    throw new Error(`the output ${name} has the shape [${logits?.dims}], expected ${expected}`);
  }
  return logits;
}

async function answer(
  task: WorkerTask,
  onRan: (tokens: number, requests: number) => void,
): Promise<WorkerAnswers[WorkerTask['kind']]> {
  if (task.kind === 'encode') {
    return task.texts.map((text) => tokenizer.encode(text, { add_special_tokens: false }).ids);
  }
  if (task.kind === 'decode') {
    return task.sequences.map((tokens) =>
      tokens.length === 0 ? '' : tokenizer.decode(tokens, { skip_special_tokens: false }),
    );
  }
  if (task.kind === 'score') return score(task.requests, onRan);
  if (task.kind === 'outputs') return outputs.of(task.tokens);
  if (task.kind === 'diverge') return diverge(await outputs.of(task.tokens), task.from);
  if (task.kind === 'time') return outputs.time(task.run);
  await session.release();
  if (task.kind === 'reload') await load();
  else port.close();
  return undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const reply = (message: Reply) => port.postMessage(message);

begin().then(
  (ready) => {
    // Handle messages one at a time: a session runs one batch at a time.
    let last: Promise<unknown> = Promise.resolve();
    port.on('message', ({ number, task }: Message) => {
      last = last.then(async () => {
        try {
          const done = await answer(task, (tokens, requests) => reply({ number, ran: { tokens, requests } }));
          reply({ number, answer: done });
        } catch (error) {
          reply({ number, failure: messageOf(error) });
        }
      });
    });
    reply({ ready });
  },
  (error) => {
    reply({ failure: messageOf(error) });
    port.close();
  },
);
