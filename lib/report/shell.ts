import { printable, replaceUnprintable } from '../text/printable.js';

/** Quotes the words of a command so that they can be pasted into a POSIX shell. */
export function shellWords(words: readonly string[]): string[] {
  return words.map(quoted);
}

function quoted(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  // Unprintable characters are written by their codes, which $'...' understands (bash, zsh, ksh).
  if (printable(word) !== word) return `$'${replaceUnprintable(word.replace(/[\\']/g, '\\$&'), shellEscape)}'`;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

function shellEscape(code: number): string {
  const hex = (digits: number) => code.toString(16).padStart(digits, '0');
  if (code < 0x80) return `\\x${hex(2)}`;
  return code <= 0xffff ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}
