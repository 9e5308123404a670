import { readFileSync } from 'node:fs';

/** The version of this package. A job that another version began is not resumed: it may have been computed differently. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
