const LEVELS = '▁▂▃▄▅▆▇█';

/**
 * Descending values of at least 0 as bars relative to the first: each bar stands for an equal stretch of them, by its
 * first value, so that the leftmost bar is always full.
 */
export function sparkline(values: readonly number[], width = 16): string {
  const first = values[0] ?? 0;
  return Array.from({ length: Math.min(width, values.length) }, (_, bar) => {
    const value = values[Math.floor((bar * values.length) / Math.min(width, values.length))]!;
    const level = first > 0 ? Math.round((value / first) * (LEVELS.length - 1)) : 0;
    return LEVELS[level]!;
  }).join('');
}
