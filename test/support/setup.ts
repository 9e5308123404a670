import { expect } from 'vitest';

/**
 * Typed arrays of equal bytes are equal. Without this, expect() compares them element by element,
 * which takes seconds for a megabyte. It still does where they differ, to show the difference.
 */
function sameBytes(a: unknown, b: unknown): true | undefined {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b) || a.byteLength !== b.byteLength) return undefined;
  const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength);
  return Buffer.compare(bytes(a), bytes(b)) === 0 ? true : undefined;
}

expect.addEqualityTesters([sameBytes]);
