import { UNSEEN } from './html.js';

/** The words of a command, quoted so that they can be pasted into a POSIX shell. */
export function shellWords(words: readonly string[]): string[] {
  return words.map(quoted);
}

function quoted(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  // What cannot be seen is written by its code, which $'...' understands (bash, zsh, ksh).
  if (word.search(UNSEEN) >= 0) return `$'${word.replace(/[\\']/g, '\\$&').replace(UNSEEN, codeOf)}'`;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

function codeOf(character: string): string {
  const code = character.codePointAt(0)!;
  const hex = (digits: number) => code.toString(16).padStart(digits, '0');
  if (code < 0x80) return `\\x${hex(2)}`;
  return code <= 0xffff ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}
