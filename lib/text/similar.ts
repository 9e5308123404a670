/** Finds what a misspelt name was meant to be. */

/** The most letters that may be wrong in a name that is taken for a misspelt one. */
const MOST_CHANGES = 3;
/** The smallest share of its letters that must be right. */
const LEAST_SIMILARITY = 0.5;

/** Returns the name that was probably meant; undefined if none is close. */
export function mostSimilar(name: string, names: readonly string[]): string | undefined {
  // A long name is not a misspelling, and comparing it takes time quadratic in its length.
  if (name.length > 64) return undefined;
  const plain = (text: string) => text.replace(/[-_ ]/g, '').toLowerCase();
  const ranked = names
    .map((known) => ({ known, changes: editDistance(plain(name), plain(known)) }))
    .filter(({ known, changes }) => {
      const length = Math.max(known.length, name.length);
      return changes <= MOST_CHANGES && (length - changes) / length >= LEAST_SIMILARITY;
    })
    .sort((a, b) => a.changes - b.changes);
  return ranked[0]?.known;
}

/**
 * The fewest insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`
 * (Damerau 1964).
 */
function editDistance(a: string, b: string): number {
  let [before, above]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(replaced, above[j]! + 1, row[j - 1]! + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, before[j - 2]! + 1);
      row.push(least);
    }
    [before, above] = [above, row];
  }
  return above[b.length]!;
}
