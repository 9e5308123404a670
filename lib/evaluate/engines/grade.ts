import type { Compat } from '../metrics/compat.js';
import { exactMatch, generationMatch, normalised, overlap } from '../metrics/match.js';
import type { Question } from '../questions/question.js';
import type { ExampleResult, LikelyToken } from '../result.js';

/** What an engine found out about a question. */
export interface RawAnswer {
  readonly choiceLogProbs?: readonly number[];
  readonly answerLogProb?: number;
  readonly answerTokens?: number;
  readonly top?: readonly LikelyToken[];
  readonly rank?: number;
  /** Whether each token of the answer is the likeliest one after those before it. */
  readonly greedy?: boolean;
  readonly generation?: string;
  /** The verdict of a program, which replaces ours. */
  readonly correct?: boolean;
  readonly prediction?: string;
  readonly masked?: boolean;
}

/** Grades an answer. All engines use it, so that their results can be compared. */
export function judge(question: Question, found: RawAnswer, compat?: Compat): ExampleResult {
  const { id, kind, prompt, answer, label, choices } = question;
  const { choiceLogProbs, top, generation } = found;
  // The first of equals, like NumPy's argmax.
  const best = choiceLogProbs === undefined ? undefined : choiceLogProbs.indexOf(Math.max(...choiceLogProbs));
  const answerLogProb = found.answerLogProb ?? (label === undefined ? undefined : choiceLogProbs?.[label]);
  const said = generation === undefined || compat !== 'laser' || found.masked ? generation : prompt + generation;
  const matched = answer === undefined || said === undefined ? undefined : overlap(said, answer, compat);
  const wording = compat === 'laser' && answer !== undefined && top !== undefined;
  const place = wording ? top.findIndex(({ text }) => normalised(text) === normalised(answer)) : undefined;
  const rank = place === undefined ? found.rank : place < 0 ? undefined : place;
  return {
    id,
    kind,
    prompt,
    answer,
    correct: found.correct ?? judged(),
    prediction: found.prediction ?? (best === undefined ? (generation ?? top?.[0]?.text.trim()) : choices?.[best]),
    choiceLogProbs,
    answerLogProb,
    answerTokens: lengthened(found, compat),
    top,
    rank,
    generation,
    exactMatch: answer === undefined || generation === undefined ? undefined : exactMatch(generation, answer),
    f1: matched?.f1,
  };

  function judged(): boolean | undefined {
    if (kind === 'text') return undefined;
    if (kind === 'choice') return best === undefined ? undefined : best === label;
    if (answer !== undefined && said !== undefined) return generationMatch(said, answer);
    // LASER judges a single token by its text, as it does for top-1.
    if (wording && found.answerTokens === 1) return rank === 0;
    return found.greedy;
  }
}

function lengthened({ answerTokens, masked }: RawAnswer, compat: Compat | undefined): number | undefined {
  return answerTokens !== undefined && masked && compat === 'laser' ? answerTokens + 1 : answerTokens;
}
