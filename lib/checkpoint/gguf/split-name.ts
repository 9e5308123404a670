/** The name of one file of a split model: `<prefix>-00002-of-00003.gguf`, counted from 1. */
export interface SplitName {
  readonly prefix: string;
  readonly number: number;
  readonly count: number;
}

/** Parses the name of a split file; returns undefined for any other name. */
export function parseSplitName(name: string): SplitName | undefined {
  const [, prefix, number, count] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s.exec(name) ?? [];
  return prefix === undefined ? undefined : { prefix, number: Number(number), count: Number(count) };
}

export function splitName({ prefix, number, count }: SplitName): string {
  const digits = (n: number) => String(n).padStart(5, '0');
  return `${prefix}-${digits(number)}-of-${digits(count)}.gguf`;
}
