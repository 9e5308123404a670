import { LowRankError } from '../errors.js';
import type { Inference, Runtime } from '../evaluate/engines/onnx-feeds.js';
import { knownOutput } from '../evaluate/engines/onnx-outputs.js';

/**
 * Loads an ONNX file into onnxruntime.
 *
 * @param name what messages call the model
 * @throws LowRankError `ERR_ENGINE` where it does not load.
 */
export async function openSession(
  runtime: Runtime,
  path: string,
  threads: number | undefined,
  name = path,
): Promise<Inference> {
  try {
    return await runtime.InferenceSession.create(path, {
      executionProviders: ['cpu'],
      ...(threads !== undefined && { intraOpNumThreads: threads }),
      // Linear algebra runs between two runs: waiting threads must not take its cores.
      extra: { session: { intra_op: { allow_spinning: '0' } } },
      logSeverityLevel: 3,
    });
  } catch (cause) {
    throw new LowRankError('ERR_ENGINE', `${name}: does not load: ${(cause as Error).message}`, { cause });
  }
}

/** The output that a model is judged by: the first known one, or else the first. */
export function judgedOutput(session: Inference): string {
  return knownOutput(session) ?? session.outputNames[0]!;
}
