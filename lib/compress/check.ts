import { LowRankError } from '../errors.js';
import { asFloats, type Inference, type Runtime, type RuntimeTensor } from '../evaluate/engines/onnx-feeds.js';
import { type OutputChange, OutputChanges } from './output-change.js';
import type { Samples } from './samples.js';
import { judgedOutput, openSession } from './session.js';

export interface CheckOptions {
  readonly runtime: Runtime;
  readonly samples: Samples;
  /** The samples to run: those before `from` were used to choose ranks. */
  readonly from: number;
  readonly to: number;
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Loads a written model and the original, and compares their outputs on samples.
 *
 * @throws LowRankError `ERR_ENGINE` where one does not load or run; `ERR_NOT_FINITE` where the
 *   written model returns no
 * numbers.
 */
export async function compareOutputs(original: string, written: string, options: CheckOptions): Promise<OutputChange> {
  const { runtime, from, to, threads, signal } = options;
  const before = await openSession(runtime, original, threads);
  try {
    const after = await openSession(runtime, written, threads, 'the compressed model');
    try {
      const output = judgedOutput(before);
      const changes = new OutputChanges(output === 'logits' ? 'logits' : 'vectors');
      for (let i = from; i < to; i++) {
        signal?.throwIfAborted();
        const expected = await run(before, output, i, options);
        const found = await run(after, output, i, options);
        const numbers = asFloats(found);
        if (!numbers.every(Number.isFinite)) {
          throw new LowRankError('ERR_NOT_FINITE', 'the compressed model returns numbers that are not finite', {
            hint: 'Keep more, or report this: the factors themselves are finite.',
          });
        }
        changes.add(asFloats(expected), numbers, expected.dims.at(-1)!);
      }
      return changes.mean;
    } finally {
      await after.release();
    }
  } finally {
    await before.release();
  }
}

async function run(
  session: Inference,
  output: string,
  sample: number,
  { runtime, samples }: CheckOptions,
): Promise<RuntimeTensor> {
  try {
    return (await session.run(await samples.feeds(sample, runtime, session), [output]))[output]!;
  } catch (cause) {
    if (cause instanceof LowRankError) throw cause;
    throw new LowRankError('ERR_ENGINE', `the model does not run: ${(cause as Error).message}`, { cause });
  }
}
