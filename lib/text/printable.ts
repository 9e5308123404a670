/**
 * Characters that a terminal would obey, that hide text or change its direction, and noncharacters.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Noncharacter_Code_Point}\u2028\u2029]/gu;

/**
 * Replaces unprintable characters by their codes, such as `\u{202e}`. Names come from untrusted
 * files, so errors, terminals and pages show them only through this function.
 */
export function printable(text: string): string {
  return replaceUnprintable(text, (code) => `\\u{${code.toString(16)}}`);
}

/** Replaces unprintable characters by what `write` makes of their codes. */
export function replaceUnprintable(text: string, write: (code: number) => string): string {
  return text.replace(UNPRINTABLE, (character) => write(character.codePointAt(0)!));
}
