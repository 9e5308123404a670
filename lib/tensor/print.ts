/**
 * Writes numbers as NumPy does (`numpy.array2string` with `precision=4`): columns aligned at the
 * decimal point, and the middle of long axes left out.
 */

/** The digits after the decimal point, at most. */
const PRECISION = 4;
/** The numbers above which long axes are shortened, and how many are shown at each end of one. */
const [MOST_NUMBERS, EDGE] = [1000, 3];
/**
 * Outside of these, and where numbers differ by more than this factor, exponents are used: those of
 * NumPy 2.4, which for float32 has six digits before them.
 */
const [LARGE, SMALL, RATIO] = [1e6, 1e-4, 1000];

/**
 * @param width - the columns after which a row goes on in the next line.
 * @returns nested brackets, one row in a line.
 */
export function formatNumbers(data: Float32Array, shape: readonly number[], width: number): string {
  if (shape.includes(0)) return '[]';
  const shortened = data.length > MOST_NUMBERS;
  const format = formatter([...shown(data, shape, shortened)]);
  if (shape.length === 0) return format(data[0]!).trim();

  const written = (axis: number, start: number, indent: string, room: number): string => {
    const step = stepOf(shape, axis);
    const places = placesOf(shape[axis]!, shortened);
    const inner = `${indent} `;
    if (axis === shape.length - 1) {
      const words = places.map((place) => (place === undefined ? '...' : format(data[start + place]!)));
      return `[${wrapped(words, inner, room - 1)}]`;
    }
    const gap = `\n${'\n'.repeat(shape.length - axis - 2)}${inner}`;
    const parts = places.map((place) =>
      place === undefined ? '...' : written(axis + 1, start + place * step, inner, room - 1),
    );
    return `[${parts.join(gap)}]`;
  };
  return written(0, 0, '', width);
}

/** Joins words by spaces, and breaks lines that would be longer than `width`. */
function wrapped(words: readonly string[], indent: string, width: number): string {
  const lines: string[] = [];
  let line = indent;
  for (const word of words) {
    const next = line === indent ? `${line}${word}` : `${line} ${word}`;
    if (next.length > width && line !== indent) {
      lines.push(line.trimEnd());
      line = `${indent}${word}`;
    } else {
      line = next;
    }
  }
  return [...lines, line].join('\n').slice(indent.length);
}

/** Returns the positions to show along an axis; undefined stands for those left out. */
function placesOf(length: number, shortened: boolean): readonly (number | undefined)[] {
  const all = Array.from({ length: shortened && length > 2 * EDGE ? 2 * EDGE : length }, (_, i) => i);
  if (all.length === length) return all;
  return [...all.slice(0, EDGE), undefined, ...all.slice(EDGE).map((i) => length - 2 * EDGE + i)];
}

/** Yields the numbers that are shown. */
function* shown(
  data: Float32Array,
  shape: readonly number[],
  shortened: boolean,
  axis = 0,
  start = 0,
): Generator<number> {
  if (axis === shape.length) {
    yield data[start]!;
    return;
  }
  for (const place of placesOf(shape[axis]!, shortened)) {
    if (place !== undefined) yield* shown(data, shape, shortened, axis + 1, start + place * stepOf(shape, axis));
  }
}

function stepOf(shape: readonly number[], axis: number): number {
  return shape.slice(axis + 1).reduce((product, dimension) => product * dimension, 1);
}

/** Returns how to write each of these numbers, all equally wide. */
function formatter(numbers: readonly number[]): (value: number) => string {
  const finite = numbers.filter(Number.isFinite);
  const sizes = finite.filter((value) => value !== 0).map(Math.abs);
  const [largest, smallest] = [Math.max(...sizes), Math.min(...sizes)];
  const exponents = sizes.length > 0 && (largest >= LARGE || smallest < SMALL || largest / smallest > RATIO);
  const plain = exponents ? scientific(finite) : positional;

  const parts = finite.map((value) => plain(value).split('.') as [string, string]);
  const after = Math.max(0, ...parts.map(([, fraction]) => fraction.length));
  const others = numbers.filter((value) => !Number.isFinite(value)).map((value) => named(value).length);
  const before = Math.max(0, ...parts.map(([whole]) => whole.length), ...others.map((length) => length - after - 1));
  return (value) => {
    if (!Number.isFinite(value)) return named(value).padStart(before + 1 + after);
    const [whole, fraction] = plain(value).split('.') as [string, string];
    return `${whole.padStart(before)}.${fraction.padEnd(after)}`;
  };
}

/** `1.`, `-0.5`, `2.25`: without trailing zeros. */
function positional(value: number): string {
  const text = value.toFixed(PRECISION).replace(/0+$/, '');
  return Object.is(value, -0) ? `-${text}` : text;
}

/** `1.2500e-05`: with as many digits as the longest of these numbers needs. */
function scientific(numbers: readonly number[]): (value: number) => string {
  const mantissas = numbers.map((value) => value.toExponential(PRECISION).split('e')[0]!);
  const digits = Math.max(0, ...mantissas.map((text) => text.replace(/0+$/, '').split('.')[1]!.length));
  return (value) => {
    const [mantissa, exponent] = value.toExponential(digits).split('e') as [string, string];
    const sign = Object.is(value, -0) ? '-' : '';
    const dot = mantissa.includes('.') ? '' : '.';
    return `${sign}${mantissa}${dot}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  };
}

function named(value: number): string {
  return Number.isNaN(value) ? 'nan' : value < 0 ? '-inf' : 'inf';
}
