import { Help, type HelpConfiguration } from 'commander';

/** Columns that a description needs beside its term; with fewer it goes below. */
const BESIDE = 24;
const BELOW = ' '.repeat(6);

/** How help is laid out: in two columns, and on narrow terminals in one, so that no line wraps in the middle of a word. */
export const HELP: HelpConfiguration = {
  minWidthToWrap: BESIDE,
  formatItem(term, termWidth, description, helper) {
    const width = helper.helpWidth ?? 80;
    // Two spaces before the term and two behind it.
    if (description === '' || width - termWidth - 4 >= BESIDE) {
      return Help.prototype.formatItem.call(helper, term, termWidth, description, helper);
    }
    const wrapped = helper.boxWrap(description, Math.max(width - BELOW.length, BESIDE));
    return `  ${term}\n${wrapped.replace(/^/gm, BELOW)}`;
  },
};
