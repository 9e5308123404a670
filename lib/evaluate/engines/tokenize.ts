import { LowRankError } from '../../errors.js';
import { MASK } from '../questions/prompts.js';
import type { Question } from '../questions/question.js';
import type { ReadRequest, ScoreRequest, TokenModel } from './engine.js';

/**
 * A question as requests, and the positions of its continuations' log-probabilities in the results.
 */
export interface TokenizedQuestion {
  readonly requests: readonly ScoreRequest[];
  /**
   * The positions of all tokens, in order, for each choice, for the one answer, or for the text.
   */
  readonly continuations: readonly (readonly TokenPosition[])[];
  /** The read that gives the likeliest tokens after the prompt; none for a text. */
  readonly first: { readonly request: number; readonly read: number } | undefined;
  /** Tokens to generate from. */
  readonly prompt: readonly number[];
}

/** The position of a token's log-probability. */
export interface TokenPosition {
  readonly request: number;
  readonly read: number;
  readonly target: number;
  readonly token: number;
}

/**
 * Caches the tokens of a question as long as the question exists, for each tokenizer and number of
 * likeliest tokens.
 */
export class TokenizedQuestions {
  readonly #kept = new WeakMap<Question, Map<string, TokenizedQuestion>>();

  async prepare(model: TokenModel, questions: readonly Question[], top: number): Promise<TokenizedQuestion[]> {
    const key = `${model.kind} ${model.contextLength} ${top} ${model.tokenizer}`;
    const missing = questions.filter((question) => !this.#kept.get(question)?.has(key));
    const made = await prepareQuestions(model, missing, top);
    missing.forEach((question, i) => {
      const kept = this.#kept.get(question) ?? new Map<string, TokenizedQuestion>();
      this.#kept.set(question, kept.set(key, made[i]!));
    });
    return questions.map((question) => this.#kept.get(question)!.get(key)!);
  }
}

async function prepareQuestions(
  model: TokenModel,
  questions: readonly Question[],
  top: number,
): Promise<readonly TokenizedQuestion[]> {
  if (model.kind === 'masked') {
    const prepared: TokenizedQuestion[] = [];
    for (const question of questions) prepared.push(await prepareMasked(model, question, top));
    return prepared;
  }
  // Encode all texts in one call: the tokenizer may live in another thread.
  const texts = questions.flatMap((question) => [
    question.prompt,
    ...continuationsOf(question).map((text) => joined(question, text)),
  ]);
  const special = questions.flatMap((question) =>
    [question, ...continuationsOf(question)].map(() => question.chat === true),
  );
  const encoded = await model.encode(texts, special);
  let at = 0;
  return questions.map((question) => {
    const prompt = encoded[at++]!;
    if (question.kind === 'text') return prepareText(model, prompt, question);
    // The prompt is for a masked model: here a continuation would follow the mask instead of
    // filling it.
    if (question.prompt.includes(MASK)) {
      const message = `question ${question.id}: its prompt has ${MASK}, but this model continues texts`;
      throw new LowRankError('ERR_DATASET', message, { hint: 'Use --style causal (style), or a masked model.' });
    }
    const whole = continuationsOf(question).map(() => encoded[at++]!);
    return prepareContinuations(model, prompt, whole, question, top);
  });
}

/** Returns what may follow the prompt; nothing for a text. */
function continuationsOf({ choices, answer, kind }: Question): readonly string[] {
  if (kind === 'text') return [];
  return kind === 'choice' ? choices! : [answer!];
}

/** Returns a prompt with a continuation; a chat template has said what comes before a reply. */
function joined({ prompt, chat }: Question, continuation: string): string {
  return chat === true ? prompt + continuation : join(prompt, continuation);
}

/**
 * Joins a prompt and its continuation by a space, unless one of them already has white space there.
 */
function join(prompt: string, continuation: string): string {
  return /\s$/.test(prompt) || /^\s/.test(continuation) || prompt === ''
    ? prompt + continuation
    : `${prompt} ${continuation}`;
}

/**
 * Tokenises prompt and continuation together, since a tokenizer may merge characters across the
 * boundary. The common start of the prompt's encoding and of all continuations is the context; the
 * rest is scored, at least one token. So every choice is scored from the same position on, even if
 * only one of them is merged with the prompt's end.
 */
function prepareContinuations(
  model: TokenModel,
  prompt: readonly number[],
  whole: readonly (readonly number[])[],
  question: Question,
  top: number,
): TokenizedQuestion {
  const requests: { tokens: number[]; reads: { position: number; targets: number[] }[]; top: number }[] = [];
  const continuations: TokenPosition[][] = [];
  // Choices of one token share a request.
  let single: number | undefined;
  let shared = prompt.length;
  for (const tokens of whole) {
    if (tokens.length === 0 || tokens.join() === prompt.join()) throw noToken(question);
    const parting = prompt.findIndex((token, i) => token !== tokens[i]);
    shared = Math.min(shared, parting < 0 ? prompt.length : parting, tokens.length - 1);
  }
  // A chat template may have put the tokens there that a tokenizer would add.
  const isThere = question.chat === true && model.prefix.every((token, i) => prompt[i] === token);
  const prefix = isThere ? [] : model.prefix;
  const context = [...prefix, ...prompt.slice(0, shared)];
  if (context.length === 0) {
    const message = `question ${question.id}: the prompt has no token, so nothing can follow it`;
    throw new LowRankError('ERR_DATASET', message);
  }
  for (const tokens of whole) {
    const scored = tokens.slice(shared);
    const sequence = [...context, ...scored.slice(0, -1)];
    if (sequence.length > model.contextLength) throw tooLong(question, sequence.length, model.contextLength);
    const request = scored.length === 1 && single !== undefined ? single : requests.length;
    if (request === requests.length) {
      const reads = scored.map((_, i) => ({ position: context.length - 1 + i, targets: [] as number[] }));
      requests.push({ tokens: sequence, reads, top: 0 });
    }
    if (scored.length === 1) single = request;
    continuations.push(
      scored.map((token, read) => {
        const { targets } = requests[request]!.reads[read]!;
        if (!targets.includes(token)) targets.push(token);
        return { request, read, target: targets.indexOf(token), token };
      }),
    );
  }
  // The greedy reply is compared with a whole answer, so the rivals of each token are needed.
  for (const request of requests) request.top = Math.max(1, top);
  return { requests, continuations, first: { request: 0, read: 0 }, prompt: [...prefix, ...prompt] };
}

/**
 * Runs a text that is longer than the model's limit in windows that overlap by half. Each token is
 * scored once, with at least half a window before it (except in the first window). The first token
 * of a text without prefix has no probability.
 */
function prepareText(model: TokenModel, text: readonly number[], question: Question): TokenizedQuestion {
  const tokens = [...model.prefix, ...text];
  const window = model.contextLength;
  const stride = Math.max(1, Math.floor(window / 2));
  const requests: ScoreRequest[] = [];
  const spots: TokenPosition[] = [];
  // The next token to predict; the first one of the sequence is given.
  let next = Math.max(1, model.prefix.length);
  if (tokens.length <= next) {
    throw new LowRankError('ERR_DATASET', `question ${question.id}: a text needs at least two tokens`);
  }
  while (next < tokens.length) {
    const begin = requests.length === 0 ? 0 : next - stride;
    const end = Math.min(begin + window, tokens.length - 1);
    const reads: ReadRequest[] = [];
    for (let position = next - 1; position < end; position++) {
      const token = tokens[position + 1]!;
      spots.push({ request: requests.length, read: reads.length, target: 0, token });
      reads.push({ position: position - begin, targets: [token] });
    }
    requests.push({ tokens: tokens.slice(begin, end), reads, top: 0 });
    next = end + 1;
  }
  return { requests, continuations: [spots], first: undefined, prompt: [] };
}

/** Like LASER: the answer's tokens are masked all at once, and each is read in its own place. */
async function prepareMasked(model: TokenModel, question: Question, top: number): Promise<TokenizedQuestion> {
  const { mask } = model;
  if (mask === undefined) {
    throw new LowRankError('ERR_UNSUPPORTED', 'the tokenizer of this masked model names no mask token');
  }
  if (question.chat === true) {
    throw new LowRankError('ERR_UNSUPPORTED', 'a model that fills in masks has no chat template');
  }
  if (question.kind === 'text') {
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      'perplexity needs a model that continues a text, but this one fills in masks',
    );
  }
  const place = question.prompt.indexOf(MASK);
  const before = place < 0 ? question.prompt : question.prompt.slice(0, place);
  const after = place < 0 ? '' : question.prompt.slice(place + MASK.length);
  const texts = continuationsOf(question);
  const requests: ScoreRequest[] = [];
  const byLength = new Map<number, number>();
  const continuations: TokenPosition[][] = [];
  const answers = await model.encode(texts.map((text) => join(before, text).slice(before.trimEnd().length)));
  for (const tokens of answers) {
    if (tokens.length === 0) throw noToken(question);
    let index = byLength.get(tokens.length);
    if (index === undefined) {
      const masks = Array.from({ length: tokens.length }, () => mask.text).join(' ');
      const [inner] = (await model.encode([join(before, masks) + after])) as [number[]];
      const sequence = [...model.prefix, ...inner, ...model.suffix];
      if (sequence.length > model.contextLength) throw tooLong(question, sequence.length, model.contextLength);
      const positions = sequence.flatMap((token, i) => (token === mask.token ? [i] : []));
      if (positions.length !== tokens.length) {
        const message = `question ${question.id}: expected ${tokens.length} masks, got ${positions.length}`;
        throw new LowRankError('ERR_DATASET', message, { hint: `One ${MASK} stands for the whole answer.` });
      }
      index = requests.length;
      byLength.set(tokens.length, index);
      const reads = positions.map((position) => ({ position, targets: [] as number[] }));
      requests.push({ tokens: sequence, reads, top: Math.max(1, top) });
    }
    const request = index;
    continuations.push(
      tokens.map((token, read) => {
        const targets = requests[request]!.reads[read]!.targets as number[];
        if (!targets.includes(token)) targets.push(token);
        return { request, read, target: targets.indexOf(token), token };
      }),
    );
  }
  return { requests, continuations, first: { request: 0, read: 0 }, prompt: [] };
}

function noToken({ id }: Question): LowRankError {
  const message = `question ${id}: a choice or answer has no token of its own, so nothing can be scored`;
  return new LowRankError('ERR_DATASET', message, {
    hint: 'It is empty, or consists of characters that the tokenizer ignores.',
  });
}

function tooLong({ id }: Question, tokens: number, most: number): LowRankError {
  return new LowRankError('ERR_DATASET', `question ${id} has ${tokens} tokens, but the model takes ${most}`, {
    hint: 'Use a model with a longer context, or leave out long questions.',
  });
}
