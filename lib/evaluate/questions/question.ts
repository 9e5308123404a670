/**
 * One question of a set. A `choice` has choices and a label, an `answer` has an answer, a `text`
 * has only the prompt.
 */
export interface Question {
  /** Its index in the whole set, before any split or limit. */
  readonly id: number;
  /**
   * `choice`: which of some continuations is likelier. `answer`: what the model says. `text`: how
   * likely the text itself is.
   */
  readonly kind: 'choice' | 'answer' | 'text';
  /** The input of the model; for `text` the whole text. */
  readonly prompt: string;
  readonly choices?: readonly string[];
  /** The index of the right choice. */
  readonly label?: number;
  /** The right answer; for a `choice` the right choice. */
  readonly answer?: string;
  /**
   * Whether a chat template has worded the prompt: its special tokens count as such, and nothing is
   * put between it and a continuation.
   */
  readonly chat?: true;
}

/** Returns the ids of questions or results that an earlier one already has. */
export function repeatedIds(items: readonly Pick<Question, 'id'>[]): number[] {
  const seen = new Set<number>();
  return items.flatMap(({ id }) => (seen.size === seen.add(id).size ? [id] : []));
}

/** The supported forms of files. */
export const DATASET_FORMATS = [
  'jsonl',
  'table',
  'text',
  'bigbench',
  'bbh',
  'harness',
  'true-false',
  'wikidata',
  'truthfulqa',
  'fever',
  'hotpot',
  'counterfact',
  'bios-gender',
  'bios-profession',
] as const;

export type DatasetFormat = (typeof DATASET_FORMATS)[number];

/**
 * The kind of model for which prompts are worded: models that continue a text (GPT-J, Llama), or
 * that fill in a `<mask>` (RoBERTa).
 */
export type PromptStyle = 'causal' | 'masked';
export const PROMPT_STYLES: readonly PromptStyle[] = ['causal', 'masked'];

/** Questions of one file. */
export interface QuestionSet {
  /** The file. */
  readonly path: string;
  readonly format: DatasetFormat;
  readonly questions: readonly Question[];
  /**
   * The number of tokens that LASER generates before it looks for the answer in them; undefined if
   * it compares probabilities.
   */
  readonly generate: number | undefined;
}
