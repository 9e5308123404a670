/** Writes ascending whole numbers as ranges: `0-3, 7, 9-11`; the count if there are many ranges. */
export function formatRanges(numbers: readonly number[], most = 3): string {
  const ranges: [first: number, last: number][] = [];
  for (const number of numbers) {
    const range = ranges.at(-1);
    if (range !== undefined && range[1] + 1 === number) range[1] = number;
    else ranges.push([number, number]);
  }
  if (ranges.length > most) return `${numbers.length} of ${numbers[0]}-${numbers.at(-1)}`;
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(', ');
}
