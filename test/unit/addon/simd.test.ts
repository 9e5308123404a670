import { execFileSync } from 'node:child_process';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon } from '../../../lib/addon/load.js';

const library = new URL('../../../dist/index.js', import.meta.url).href;

// LOWRANK_SIMD is read once, so each path runs in a process of its own, on the built addon. The
// targets are block Krylov, small matrices in lanes and AdamW, the kernels of our own.
const PROGRAM = `
import { AdamW, Lora, laserSync } from ${JSON.stringify(library)};
const n = 260;
const data = Float32Array.from({ length: n * n }, (_, i) => {
  const [row, col] = [Math.floor(i / n), i % n];
  return Math.cos((row + 1) * (col + 0.5) * Math.PI / n) / (1 + col / 4) + Math.sin(i * i) * 1e-3;
});
const certificates = [[n, n], [n - 3, n], [n, n - 3]].map(([m, k]) => {
  const w = { data: data.slice(0, m * k), shape: [m, k] };
  return laserSync.certified(w, { rank: 7, method: 'krylov', threads: 1 }).certificate;
});
const small = { data: Float32Array.from({ length: 19 * 40 * 30 }, (_, i) => Math.sin(i * i)), shape: [19, 40, 30] };
certificates.push(...laserSync.certified(small, { rank: 16 }).certificates);
const lora = new Lora({ dim: 37, dimOut: 29, r: 3 });
const optimizer = new AdamW(lora.parameters(), { lr: 0.1 });
lora.A.data.set(Float32Array.from(lora.A.data, (_, i) => Math.sin(i)));
lora.forward({ data: Float32Array.from({ length: 37 }, (_, i) => i / 37), shape: [1, 37] });
lora.backward({ data: Float32Array.from({ length: 29 }, (_, i) => 1 - i / 29), shape: [1, 29] });
optimizer.step();
console.log(JSON.stringify({ certificates, b: [...lora.B.data] }));
`;

interface Outcome {
  certificates: { method: string; relativeError: number; excessBound: number }[];
  b: number[];
}

function run(simd: string): Outcome {
  const env = { ...process.env, LOWRANK_SIMD: simd };
  const args = ['--input-type=module', '-e', PROGRAM];
  return JSON.parse(execFileSync(process.execPath, args, { env, encoding: 'utf8' })) as Outcome;
}

describe('the vector instructions of our own kernels', () => {
  const { simd, simdPaths } = addon().info();

  it('are the widest that this processor has', () => {
    expect(simd).toBe(process.env.LOWRANK_SIMD ?? simdPaths.at(-1));
    if (process.arch === 'x64') expect(simdPaths[0]).toBe('sse2');
    if (process.arch === 'arm64') expect(simdPaths).toEqual(['neon']);
  });

  describe.each(simdPaths)('%s', (path) => {
    let outcome: Outcome;
    let reference: Outcome;
    beforeAll(() => {
      outcome = run(path);
      reference = run(simdPaths[0]!);
    });

    it('find the same approximations by block Krylov and in lanes', () => {
      for (const [i, { method, relativeError, excessBound }] of outcome.certificates.entries()) {
        expect(method).toBe(i < 3 ? 'krylov' : 'gram');
        expect(excessBound).toBeLessThanOrEqual(1e-6);
        expect(relativeError).toBeCloseTo(reference.certificates[i]!.relativeError, 6);
      }
    });

    it('take the same steps of AdamW', () => {
      expect(outcome.b).toHaveLength(reference.b.length);
      for (const [i, value] of outcome.b.entries()) expect(value).toBeCloseTo(reference.b[i]!, 5);
    });
  });

  it('are refused if the environment names unknown ones', () => {
    const wrong = () => run('avx1024');
    expect(wrong).toThrow(/LOWRANK_SIMD: expected one of .* on this processor, got avx1024/);
    expect(wrong).toThrow(/ERR_ARGUMENT/);
  });
});

describe("OpenBLAS' kernel", () => {
  const chosen = process.env.OPENBLAS_CORETYPE !== undefined;
  it.skipIf(chosen)('has the vector instructions of the processor, also of a model that OpenBLAS does not know', () => {
    const { kernel, simdPaths } = addon().info();
    if (simdPaths.includes('avx2'))
      expect(kernel).toMatch(/^(Haswell|Zen|Excavator|SkylakeX|Cooperlake|SapphireRapids)$/i);
    else expect(kernel).not.toBe('');
  });
});
