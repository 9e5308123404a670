import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/**
 * Parses a size: `2GB`, `1.5 GiB`, `800MB` or a plain number of bytes. Returns whole bytes, rounded
 * down.
 */
export function byteSize(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMGT]?i?B)?$/i.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(number) * (UNITS[(unit ?? '').toUpperCase()] ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError('Expected a size in KB, MB, GB, KiB, MiB or GiB, such as 2GB.');
}
