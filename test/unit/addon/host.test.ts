import { describe, expect, it } from 'vitest';
import { libc, runtime, systemVersion } from '../../../lib/addon/host.js';

const versions = (others: Record<string, string>) =>
  ({ node: '26.3.0', ...others }) as unknown as NodeJS.ProcessVersions;

describe('the host', () => {
  it.each([
    [{}, 'Node 26.3.0'],
    [{ bun: '1.4.5' }, 'Bun 1.4.5, as Node 26.3.0'],
    [{ deno: '2.9.6' }, 'Deno 2.9.6, as Node 26.3.0'],
    [{ electron: '45.0.0' }, 'Electron 45.0.0, as Node 26.3.0'],
  ])('%o is %s', (others, expected) => {
    expect(runtime(versions(others))).toBe(expected);
  });

  it('has a version of its system that begins with the libc on Linux', () => {
    expect(systemVersion()).toMatch(/^(glibc \d+\.\d+|musl|Windows [\d.]+|Darwin [\d.]+)$/);
    if (process.platform === 'linux') expect(systemVersion().split(' ')[0]).toBe(libc());
  });
});
