/** Formats numbers for people. Programs read `--json`, where nothing is rounded. */

/** Formats bytes in powers of 1000, as disks do: `512 B`, `1.5 MB`, `13.5 GB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toPrecision(value < 9.95 ? 2 : 3)} ${units[unit]}`;
}

/** Formats a duration: `0.03 s`, `7.2 s`, `48 s`, `3 min 05 s`, `2 h 07 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
}

/** Formats a count: `1,234,567`. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** Formats a share of 1: `99.91 %`. */
export function formatShare(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

/**
 * Formats an error with three digits, in scientific notation if it is small: `0.123`, `1.23e-7`.
 */
export function formatError(error: number): string {
  if (error === 0) return '0';
  return error >= 1e-3 ? error.toPrecision(3) : error.toExponential(2);
}

/** Formats a shape: `4096 x 11008`. */
export function formatShape(shape: readonly number[]): string {
  return shape.length === 0 ? 'scalar' : shape.join(' x ');
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
