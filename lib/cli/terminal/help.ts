import { type Command, Help, type HelpConfiguration } from 'commander';

/** Least width of a description beside its term; on narrower terminals it goes below. */
const BESIDE = 24;
const BELOW = ' '.repeat(6);

const TERMS = new WeakMap<Command, string>();

/** Sets the entry of a command in lists, for one whose arguments are not loaded. */
export function nameTerm(command: Command, term: string): void {
  TERMS.set(command, term);
}

/** Lays help out in two columns, or in one on narrow terminals so that no word is broken. */
export const HELP: HelpConfiguration = {
  minWidthToWrap: BESIDE,
  subcommandTerm: (command) => TERMS.get(command) ?? new Help().subcommandTerm(command),
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
