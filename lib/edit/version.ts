import { readFileSync } from 'node:fs';

/** Of this package. A job that another version began may have been computed differently, and is not gone on with. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
