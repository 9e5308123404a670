import { factorize, type LowRank, LowRankError, laser, svd, type Tensor, tensor } from 'lowrank';
import { type LoraAdapter, loraDelta, readAdapter } from 'lowrank/adapters';
import { type EditReport, editCheckpoint } from 'lowrank/checkpoint';
import { type Evaluation, Evaluator, llamaEngine, loadQuestions } from 'lowrank/evaluate';
import { search } from 'lowrank/search';

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

export async function models(): Promise<number> {
  const adapter: LoraAdapter = await readAdapter('adapter');
  const delta: Tensor = loraDelta(adapter, 'module');
  const { edits }: EditReport = await editCheckpoint('model', 'out', { interventions: ['1:fc_in:0.01'] });
  const { questions } = await loadQuestions('questions.jsonl');
  const engine = llamaEngine();
  const { results }: Evaluation = await new Evaluator(engine).evaluate('model', questions);
  const { model } = await search('model', { engine, validation: { questions }, out: 'found' });
  // @ts-expect-error models have an entry of their own
  const { openCheckpoint } = await import('lowrank');
  return delta.data.length + edits.length + results.length + Number(model === openCheckpoint);
}

export function code(error: unknown): string | undefined {
  return error instanceof LowRankError ? error.code : undefined;
}
