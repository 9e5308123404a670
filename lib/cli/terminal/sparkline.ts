const LEVELS = '▁▂▃▄▅▆▇█';

/**
 * Draws descending, non-negative values as bars relative to the first. Each bar shows the first
 * value of an equal share of them, so the leftmost bar is always full.
 */
export function sparkline(values: readonly number[], width = 16): string {
  const first = values[0] ?? 0;
  return Array.from({ length: Math.min(width, values.length) }, (_, bar) => {
    const value = values[Math.floor((bar * values.length) / Math.min(width, values.length))]!;
    const level = first > 0 ? Math.round((value / first) * (LEVELS.length - 1)) : 0;
    return LEVELS[level]!;
  }).join('');
}
