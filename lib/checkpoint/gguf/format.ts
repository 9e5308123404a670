import type { FormatDescription } from '../format.js';
import { openGguf } from './checkpoint.js';
import { parseSplitName, splitName } from './split-name.js';

const ENDING = '.gguf';

export const GGUF: FormatDescription = {
  name: 'gguf',
  label: 'GGUF',
  ending: ENDING,
  hasModuleNames: false,
  hasAdapters: true,
  sniff: (start) => (start.toString('latin1', 0, 4) === 'GGUF' ? 'gguf' : undefined),
  models: async (_, names) => firstsOfGguf(names),
  open: openGguf,
};

/**
 * Returns the GGUF models among the names of a folder; a split model is represented by its first
 * existing file.
 */
function firstsOfGguf(sortedNames: readonly string[]): string[] {
  const firsts = new Map<string, string>();
  for (const name of sortedNames) {
    if (!name.endsWith(ENDING)) continue;
    const split = parseSplitName(name);
    const model = split === undefined ? name : splitName({ ...split, number: 0 });
    if (!firsts.has(model)) firsts.set(model, name);
  }
  return [...firsts.values()];
}
