import { isUtf8 } from 'node:buffer';
import { CheckpointError, describe } from '../errors.js';
import { readSmallFile } from './files.js';
import { JsonReader } from './json.js';
import type { Check } from './schema.js';

/** The numbers that JSON lacks, as our files store them: `{ "$number": "Infinity" }`. */
const BEYOND_JSON: ReadonlyMap<unknown, number> = new Map([
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['NaN', Number.NaN],
]);

/** Converts a value to JSON. {@link parseJson} restores its infinities, too. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_, item) => (typeof item === 'number' && !Number.isFinite(item) ? { $number: String(item) } : item),
    indent,
  );
}

/**
 * Reads JSON that {@link toJson} wrote, or that somebody has changed since. Repeated keys,
 * `__proto__` and excessive nesting are faults.
 *
 * @param fail throws the error for a fault
 */
export function parseJson(bytes: Uint8Array, fail: (message: string) => never): unknown {
  if (!isUtf8(bytes)) return fail('not valid UTF-8');
  const invalid = (message: string) => fail(`invalid JSON: ${message}`);
  const reader = new JsonReader(bytes, invalid);
  const value = reader.value();
  reader.end();
  return revived(value, invalid);
}

function revived(value: unknown, fail: (message: string) => never): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if ('$number' in value) {
    const number = BEYOND_JSON.get(value.$number);
    return number ?? fail(`expected Infinity, -Infinity or NaN as $number, got ${describe(value.$number)}`);
  }
  const members = value as Record<string, unknown>;
  for (const [key, item] of Object.entries(members)) {
    if (typeof item === 'object' && item !== null) members[key] = revived(item, fail);
  }
  return value;
}

/** A kind of file that holds one JSON document. */
export interface DocumentKind {
  /** A word for it, such as `plan`. */
  readonly what: string;
  /** The largest size in bytes. */
  readonly limit: number;
  readonly check: Check;
  /** The code of the error for an invalid document. */
  readonly code: 'ERR_CHECKPOINT_FORMAT' | 'ERR_OUTPUT';
  readonly kind: string;
  readonly hint: string;
}

/**
 * Reads and checks a JSON document.
 *
 * @throws CheckpointError with the document's own code and kind, naming the file, the place in it
 *   and what is expected there; `ERR_CHECKPOINT_IO`; kind `FileTooLarge`.
 */
export async function readDocument(file: string, document: DocumentKind): Promise<unknown> {
  return parseDocument(await readSmallFile(file, document.limit), file, document);
}

/** Checks a JSON document as {@link readDocument} does, after the file has been read. */
export function parseDocument(
  bytes: Uint8Array,
  file: string,
  { what, check, code, kind, hint }: DocumentKind,
): unknown {
  const fail = (message: string): never => {
    throw new CheckpointError(code, kind, file, `is not a ${what} of lowrank: ${message}`, { hint });
  };
  const value = parseJson(bytes, fail);
  const fault = check(value, '');
  return fault === undefined ? value : fail(fault);
}
