import type { Engine, QuestionPreview } from '../../evaluate/engines/engine.js';
import type { Question } from '../../evaluate/questions/question.js';
import { formatCount } from '../../text/format.js';
import { printable } from '../../text/printable.js';

/** A question, and what a model sees of it. */
export interface ShownQuestion extends Question {
  /** How the answer is judged, in words. */
  readonly judged: string;
  /** Undefined if a program tokenises the questions. */
  readonly tokens: QuestionPreview | undefined;
}

/** Finds out what a model sees of questions, without running it. */
export async function previewQuestions(
  engine: Engine,
  checkpoint: string,
  questions: readonly Question[],
  generate: number,
): Promise<ShownQuestion[]> {
  const session = await engine.open(checkpoint);
  try {
    const shown: ShownQuestion[] = [];
    for (const question of questions) {
      shown.push({ ...question, judged: judgedBy(question, generate), tokens: await session.preview?.(question) });
    }
    return shown;
  } finally {
    await session.close();
  }
}

function judgedBy({ kind }: Question, generate: number): string {
  if (kind === 'choice') return 'correct if the right choice has the largest sum of log-probabilities';
  if (kind === 'text') return 'measured: the likelihood of its tokens';
  if (generate > 0) return `correct if the answer occurs in ${generate} generated tokens, ignoring case`;
  return 'correct if each token of the answer is the likeliest one';
}

/**
 * Formats a question: the prompt line by line between bars, so that spaces at its end are seen, and
 * the continuations that are scored after it.
 */
export function previewLines({ id, kind, prompt, choices, answer, label, judged, tokens }: ShownQuestion): string[] {
  const given = tokens === undefined ? '' : `, ${formatCount(tokens.given.length)} tokens`;
  const continuations = choices ?? (answer === undefined ? [] : [answer]);
  const right = kind === 'choice' ? label : undefined;
  return [
    `question ${id} (${kind}${given})`,
    ...prompt.split('\n').map((line) => `  |${printable(line)}|`),
    ...added(prompt, tokens),
    ...(kind === 'text' ? scoredText(tokens) : ['scored after it:']),
    ...continuations.map((text, i) => {
      const own = tokens?.scored[i];
      const pieces = own === undefined ? quoted(text) : own.map(quoted).join(' ');
      const count = own === undefined ? '' : own.length === 1 ? ', 1 token' : `, ${own.length} tokens`;
      return `  ${pieces}${count}${i === right ? ', right' : ''}`;
    }),
    judged,
    '',
  ];
}

/** Says which tokens a tokenizer puts before the prompt. */
function added(prompt: string, tokens: QuestionPreview | undefined): string[] {
  const [first] = tokens?.given ?? [];
  if (first === undefined || first.trim() === '' || prompt.trimStart().startsWith(first.trim())) return [];
  return [`before it: ${quoted(first)}`];
}

function scoredText(tokens: QuestionPreview | undefined): string[] {
  const count = tokens?.scored[0]?.length;
  return count === undefined ? [] : [`scored: ${formatCount(count)} of its tokens`];
}

function quoted(text: string): string {
  return printable(JSON.stringify(text));
}
