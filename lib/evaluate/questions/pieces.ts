/**
 * Cuts a text into pieces of at most `length` characters, at its `<|endoftext|>` marks, otherwise
 * at the ends of lines, otherwise at spaces, so that a set of them can be divided, sampled and
 * compared pairwise.
 */
export function pieces(text: string, length: number): string[] {
  const result: string[] = [];
  for (const document of text.replace(/^\ufeff/, '').split('<|endoftext|>')) {
    let rest = document.trim();
    while (rest.length > length) {
      const head = rest.slice(0, length + 1);
      const cut = [head.lastIndexOf('\n'), head.search(/\s\S*$/)].find((index) => index > length / 2) ?? length;
      result.push(rest.slice(0, cut).trimEnd());
      rest = rest.slice(cut).trimStart();
    }
    if (rest !== '') result.push(rest);
  }
  return result;
}
