/** One question of a set. What each kind has: `choice` choices and label, `answer` an answer, `text` nothing but the prompt. */
export interface Question {
  /** Its place in the whole set, before any split or limit. */
  readonly id: number;
  /** `choice`: which of some continuations is likelier. `answer`: what the model says. `text`: how likely the text itself is. */
  readonly kind: 'choice' | 'answer' | 'text';
  /** What the model is given; for `text` all of it. */
  readonly prompt: string;
  readonly choices?: readonly string[];
  /** The index of the right choice. */
  readonly label?: number;
  /** The right answer; of a `choice` the right choice. */
  readonly answer?: string;
}

/** The ids of questions, or of results, that another one before them has too. */
export function repeatedIds(items: readonly Pick<Question, 'id'>[]): number[] {
  const seen = new Set<number>();
  return items.flatMap(({ id }) => (seen.size === seen.add(id).size ? [id] : []));
}

/** The forms of files that are understood. */
export const DATASET_FORMATS = [
  'jsonl',
  'text',
  'bigbench',
  'wikidata',
  'truthfulqa',
  'fever',
  'hotpot',
  'counterfact',
  'bios-gender',
  'bios-profession',
] as const;

export type DatasetFormat = (typeof DATASET_FORMATS)[number];

/** For whom prompts are worded: models that continue a text (GPT-J, Llama), or that fill in a `<mask>` (RoBERTa). */
export type PromptStyle = 'causal' | 'masked';
export const PROMPT_STYLES: readonly PromptStyle[] = ['causal', 'masked'];

/** Questions of one file. */
export interface QuestionSet {
  /** The file. */
  readonly path: string;
  readonly format: DatasetFormat;
  readonly questions: readonly Question[];
  /** How many tokens LASER has the model generate before it looks for the answer in them; undefined where it compares probabilities. */
  readonly generate: number | undefined;
}
