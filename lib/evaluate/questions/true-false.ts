import { choice, type Draft, type Fail, type Row, string } from './fields.js';
import { BOOLEANS, feverPrompt } from './prompts.js';
import type { PromptStyle } from './question.js';

/**
 * Reads a statement and whether it is true: the tables of The Geometry of Truth (Marks and Tegmark
 * 2023), `statement` and `label` 0 or 1, and CommonClaim (Casper et al. 2023), `examples` and
 * `label`, whose claims that are neither true nor false are left out.
 */
export function trueOrFalse(row: Row, style: PromptStyle, fail: Fail): Draft[] {
  const statement = string(row, 'statement' in row ? 'statement' : 'examples', fail);
  const label = String(row.label).trim().toLowerCase();
  if (label === 'neither') return [];
  const places: Readonly<Record<string, number>> = { '0': 0, '1': 1, false: 0, true: 1 };
  if (!Object.hasOwn(places, label)) return fail('expected a label 0 or 1, True or False, or Neither');
  return [choice(feverPrompt(statement, style), BOOLEANS, places[label]!)];
}
