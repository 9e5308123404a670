import { diverge, textLikelihood } from '../../../lib/evaluate/engines/diverge.js';
import type { Engine, Outputs, ScoreRequest, TokenModel } from '../../../lib/evaluate/engines/engine.js';
import { readLogits } from '../../../lib/evaluate/engines/logits.js';
import { TokenSession } from '../../../lib/evaluate/engines/token-session.js';
import { TokenizedQuestions } from '../../../lib/evaluate/engines/tokenize.js';

/** What was asked of the models of an engine. */
export interface Log {
  encoded: number;
  requests: ScoreRequest[];
  opened: number;
  closed: number;
  reloaded: number;
}

const LETTERS = ' abcdefghijklmnopqrstuvwxyz';
/** Stands for the begin of a text, and for a mask. */
export const BEGIN = 27;
export const MASK_TOKEN = 28;
const VOCABULARY = 29;

/** One token a letter, but `th` is one, as tokenizers join what meets. */
const JOINED = 29;

/** The logit of a letter is 0, but of the next one in the alphabet it is 3: after `a` comes `b`. */
function logitsAfter(token: number): Float64Array {
  const logits = new Float64Array(VOCABULARY + 1);
  logits[(token + 1) % 27] = 3;
  return logits;
}

/** The log-probability of the likely letter, and of any other one. */
export const LIKELY = 3 - Math.log(Math.exp(3) + VOCABULARY);
export const OTHER = -Math.log(Math.exp(3) + VOCABULARY);

export function encodeLetters(text: string): number[] {
  const tokens: number[] = [];
  for (let i = 0; i < text.length; i++) {
    if (text.startsWith('th', i)) {
      tokens.push(JOINED);
      i++;
    } else if (text[i] === '_') tokens.push(MASK_TOKEN);
    else tokens.push(LETTERS.indexOf(text[i]!));
  }
  return tokens;
}

function outputsOf(tokens: readonly number[], kind: TokenModel['kind']): Outputs {
  const size = VOCABULARY + 1;
  const data = Float32Array.from(tokens.flatMap((token) => [...logitsAfter(token)]));
  const text = kind === 'causal' ? textLikelihood(data, size, tokens) : { logProb: 0, tokens: 0 };
  return { kind: 'logits', rows: tokens.length, size, data, text };
}

function fakeModel(log: Log, options: Partial<TokenModel> = {}): TokenModel {
  const kind = options.kind ?? 'causal';
  return {
    kind,
    contextLength: 40,
    tokenizer: 'letters',
    prefix: [BEGIN],
    suffix: [],
    mask: kind === 'masked' ? { token: MASK_TOKEN, text: '_' } : undefined,
    ends: new Set([LETTERS.indexOf('z')]),
    async encode(texts) {
      log.encoded += texts.length;
      return texts.map(encodeLetters);
    },
    decode: async (sequences) => sequences.map((tokens) => tokens.map((token) => LETTERS[token] ?? '?').join('')),
    async score(requests, signal) {
      signal?.throwIfAborted();
      log.requests.push(...requests);
      return requests.map(({ tokens, reads, top }) =>
        // A masked model sees the token before the mask.
        reads.map(({ position, targets }) =>
          readLogits(logitsAfter(tokens[kind === 'masked' ? position - 1 : position]!), targets, top),
        ),
      );
    },
    outputs: async (tokens) => outputsOf(tokens, kind),
    async diverge(tokens, from) {
      return diverge(await this.outputs(tokens), from);
    },
    time: async () => 1,
    async reload() {
      log.reloaded++;
    },
    async close() {
      log.closed++;
    },
    ...options,
  };
}

/** An engine of such models, and what was asked of it. */
export function fakeEngine(options: Partial<TokenModel> | ((checkpoint: string) => Partial<TokenModel>) = {}): {
  engine: Engine;
  log: Log;
} {
  const log: Log = { encoded: 0, requests: [], opened: 0, closed: 0, reloaded: 0 };
  const prepared = new TokenizedQuestions();
  return {
    log,
    engine: {
      name: 'llama',
      runs: 'gguf',
      async open(checkpoint) {
        log.opened++;
        const own = typeof options === 'function' ? options(checkpoint) : options;
        return new TokenSession(checkpoint, fakeModel(log, own), prepared);
      },
      close: async () => undefined,
    },
  };
}
