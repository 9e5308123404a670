import { checkOptions } from '../../options.js';
import type { Question } from '../questions/question.js';
import type { ExampleResult, LikelyToken } from '../result.js';
import {
  ASK_OPTIONS,
  type AskOptions,
  type QuestionPreview,
  type ScoreRequest,
  type Scores,
  type Session,
  type TokenModel,
} from './engine.js';
import { judge, type RawAnswer } from './grade.js';
import { TokenClock, tokensToRun } from './token-clock.js';
import type { OnTokens } from './token-progress.js';
import type { TokenizedQuestion, TokenizedQuestions, TokenPosition } from './tokenize.js';

/**
 * Questions that go to the model together: enough to fill its batches, few enough to report
 * progress.
 */
const AT_ONCE = 32;

/** A session with any model that takes tokens. */
export class TokenSession implements Session {
  readonly checkpoint: string;
  readonly model: TokenModel;
  readonly #prepared: TokenizedQuestions;
  /** The texts of tokens that are already known. */
  readonly #texts = new Map<number, string>();

  /**
   * @param prepared shared between the sessions of an engine, so that candidates of a search
   *   tokenise only once
   */
  constructor(checkpoint: string, model: TokenModel, prepared: TokenizedQuestions) {
    this.checkpoint = checkpoint;
    this.model = model;
    this.#prepared = prepared;
  }

  async *ask(questions: readonly Question[], options?: AskOptions): AsyncGenerator<ExampleResult, void, undefined> {
    const { generate = 0, top = 10, compat, signal, onTokens } = checkOptions(options, ASK_OPTIONS, 'ask');
    const generates = ({ kind }: Question) => generate > 0 && kind === 'answer';
    const clock = onTokens && (await this.#clock(questions, top, generates, onTokens, signal));
    for (let begin = 0; begin < questions.length; begin += AT_ONCE) {
      signal?.throwIfAborted();
      const part = questions.slice(begin, begin + AT_ONCE);
      const prepared = await this.#prepared.prepare(this.model, part, top);
      const scores = await this.model.score(
        prepared.flatMap(({ requests }) => requests),
        signal,
        clock && ((tokens, requests) => clock.ran(tokens, requests)),
      );
      const own = divide(
        scores,
        prepared.map(({ requests }) => requests.length),
      );
      await this.#learnTexts(prepared, own);
      for (const [i, question] of part.entries()) {
        signal?.throwIfAborted();
        const found = this.#read(question, prepared[i]!, own[i]!, top);
        const generation = generates(question)
          ? { generation: await this.#generate(prepared[i]!, own[i]!, generate, signal, clock) }
          : {};
        yield judge(question, { ...found, ...generation, masked: this.model.kind === 'masked' }, compat);
      }
    }
  }

  async preview(question: Question): Promise<QuestionPreview> {
    const [prepared] = (await this.#prepared.prepare(this.model, [question], 1)) as [TokenizedQuestion];
    const { requests, continuations } = prepared;
    const texts = (tokens: readonly number[]) => this.model.decode(tokens.map((token) => [token]));
    // A masked model sees the masks in the place of the answer.
    const first = this.model.kind === 'masked' ? Number.POSITIVE_INFINITY : requests[0]!.reads[0]!.position + 1;
    return {
      given: await texts(requests[0]!.tokens.slice(0, first)),
      scored: await Promise.all(continuations.map((spots) => texts(spots.map(({ token }) => token)))),
    };
  }

  reload(): Promise<void> {
    return this.model.reload();
  }

  close(): Promise<void> {
    return this.model.close();
  }

  /** Tokenises all questions, so that it is known how much there is to do. */
  async #clock(
    questions: readonly Question[],
    top: number,
    generates: (question: Question) => boolean,
    onTokens: OnTokens,
    signal: AbortSignal | undefined,
  ): Promise<TokenClock> {
    const { model } = this;
    const { keepsStart = false } = model;
    const given = { tokens: 0, requests: 0 };
    let [prompts, tokens] = [0, 0];
    for (let begin = 0; begin < questions.length; begin += AT_ONCE) {
      signal?.throwIfAborted();
      const part = questions.slice(begin, begin + AT_ONCE);
      const prepared = await this.#prepared.prepare(model, part, top);
      const requests = prepared.flatMap((question) => question.requests);
      given.tokens += tokensToRun(requests, keepsStart);
      given.requests += requests.length;
      for (const [i, { prompt }] of prepared.entries()) {
        if (!generates(part[i]!)) continue;
        prompts++;
        tokens += prompt.length;
      }
    }
    return new TokenClock({ given, generations: { prompts, tokens }, keepsStart }, onTokens);
  }

  #read(
    question: Question,
    { continuations, first }: TokenizedQuestion,
    scores: readonly Scores[][],
    top: number,
  ): RawAnswer {
    const at = ({ request, read }: Pick<TokenPosition, 'request' | 'read'>) => scores[request]![read]!;
    const sums = continuations.map((spots) => spots.reduce((sum, spot) => sum + at(spot).logProbs[spot.target]!, 0));
    const right = question.kind === 'choice' ? question.label! : 0;
    const spots = continuations[right]!;
    const likely = first === undefined ? undefined : at(first).top.slice(0, top);
    // Choices of several lengths are separate requests, but they all start after the same prompt.
    const begin = spots[0]!;
    const rank =
      likely === undefined
        ? -1
        : at(begin)
            .top.slice(0, top)
            .findIndex(({ token }) => token === begin.token);
    return {
      answerLogProb: sums[right]!,
      answerTokens: spots.length,
      ...(question.kind === 'choice' ? { choiceLogProbs: sums } : {}),
      ...(likely === undefined || top === 0 ? {} : { top: this.#likelyTokens(likely) }),
      ...(rank < 0 ? {} : { rank }),
      ...(question.kind === 'answer' ? { greedy: spots.every((spot) => at(spot).top[0]!.token === spot.token) } : {}),
    };
  }

  #likelyTokens(likely: Scores['top']): LikelyToken[] {
    return likely.map(({ token, logProb }) => ({ text: this.#texts.get(token)!, logProb }));
  }

  /** Requests each token's text only once. */
  async #learnTexts(prepared: readonly TokenizedQuestion[], scores: readonly Scores[][][]): Promise<void> {
    const unknown = new Set<number>();
    prepared.forEach(({ first }, i) => {
      if (first === undefined) return;
      for (const { token } of scores[i]![first.request]![first.read]!.top) {
        if (!this.#texts.has(token)) unknown.add(token);
      }
    });
    const tokens = [...unknown];
    const texts = await this.model.decode(tokens.map((token) => [token]));
    for (const [i, token] of tokens.entries()) this.#texts.set(token, texts[i]!);
  }

  /** Generates greedily. A masked model predicts the tokens for the masks of the answer. */
  async #generate(
    { prompt, continuations }: TokenizedQuestion,
    scores: readonly Scores[][],
    most: number,
    signal: AbortSignal | undefined,
    clock: TokenClock | undefined,
  ): Promise<string> {
    const { model } = this;
    const said: number[] = [];
    if (model.kind === 'masked') {
      for (const { request, read } of continuations[0]!) said.push(scores[request]![read]!.top[0]!.token);
    } else {
      while (said.length < most && prompt.length + said.length <= model.contextLength) {
        const tokens = [...prompt, ...said];
        const request: ScoreRequest = { tokens, reads: [{ position: tokens.length - 1, targets: [] }], top: 1 };
        const [[{ top }]] = (await model.score([request], signal)) as [[Scores]];
        clock?.generated(model.keepsStart && said.length > 0 ? 1 : tokens.length);
        const { token } = top[0]!;
        if (model.ends.has(token)) break;
        said.push(token);
      }
    }
    clock?.endGeneration(prompt.length, said.length);
    return (await model.decode([said]))[0]!;
  }
}

/** Splits a list into parts of the given lengths. */
function divide<T>(items: readonly T[], lengths: readonly number[]): T[][] {
  let end = 0;
  return lengths.map((length) => {
    end += length;
    return items.slice(end - length, end);
  });
}
