import { factorize, type LowRank, LowRankError, laser, svd, type Tensor, tensor } from 'lowrank';

const w: Tensor = tensor(new Float32Array(12), [4, 3]);

export async function use(signal: AbortSignal): Promise<number> {
  const { u, s, vt } = await svd(w);
  const shapes: readonly (readonly number[])[] = [u.shape, s.shape, vt.shape];
  const f: LowRank = await factorize(w, { rankFraction: 0.5, signal });
  const { value, certificate } = await laser.certified(w, { rank: 1 });
  const method: string = certificate.method;
  const data: Float32Array = value.data;
  // @ts-expect-error a rank is a number
  await laser(w, { rank: 'two' });
  // @ts-expect-error there is no such name
  await laser.certain(w, { rank: 1 });
  return shapes.length + f.rank + method.length + data.length;
}

export function code(error: unknown): string | undefined {
  return error instanceof LowRankError ? error.code : undefined;
}
