import type { Question } from './question.js';

/** A question without its index in the set. */
export type Draft = Omit<Question, 'id'>;

/** Throws the error for a fault in the file. */
export type Fail = (message: string) => never;

/** A row of a table, or an object of a JSON file. */
export type Row = Readonly<Record<string, unknown>>;

export function choice(prompt: string, choices: readonly string[], label: number): Draft {
  return { kind: 'choice', prompt, choices, label, answer: choices[label]! };
}

export function answer(prompt: string, said: string, fail: Fail): Draft {
  return said === '' ? fail('the answer is empty') : { kind: 'answer', prompt, answer: said };
}

/** Adds the number of a row to the messages, counted from 1. */
export function at(fail: Fail, index: number): Fail {
  return (message) => fail(`row ${index + 1}: ${message}`);
}

export function parseJson(text: string, fail: Fail): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    return fail(`is not valid JSON: ${(cause as Error).message}`);
  }
}

export function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function string(row: Row, key: string, fail: Fail): string {
  const value = row[key];
  return typeof value === 'string' ? value : fail(`expected a string ${JSON.stringify(key)}`);
}

export function strings(value: unknown, key: string, fail: Fail): string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    return fail(`expected an array of strings ${JSON.stringify(key)}`);
  }
  return value;
}

/** Returns a number from 0 to `end` - 1. Tables in text have numbers as text. */
export function wholeNumber(row: Row, key: string, end: number, fail: Fail): number {
  const given = row[key];
  const value = typeof given === 'string' && /^\d+$/.test(given) ? Number(given) : given;
  const fits = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < end;
  return fits ? value : fail(`expected ${JSON.stringify(key)} from 0 to ${end - 1}`);
}
