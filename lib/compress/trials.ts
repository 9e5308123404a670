import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import type { Runtime } from '../evaluate/engines/onnx-feeds.js';
import { importPeer } from '../evaluate/engines/peers.js';
import { absolutePath } from '../files/files.js';
import { compareOutputs } from './check.js';
import type { Measurements } from './measurements.js';
import type { CompressOptions } from './options.js';
import type { OutputChange } from './output-change.js';
import { Probe, trialTexts } from './probe.js';
import { tensorSamples, textSamples } from './samples.js';

/** What a model is tried on: texts or inputs, in onnxruntime. */
export interface Trials {
  readonly probe: Probe;
  /** What was measured before. */
  readonly measurements: Measurements;
  /**
   * Compares a written model with the original, on samples that nothing was chosen by if there are
   * enough.
   */
  check(main: string): Promise<OutputChange>;
}

/** The most inputs that a model is tried on. */
const TRIAL_INPUTS = 96;

/**
 * Opens what tensors are tried on while `use` runs, if there are texts or inputs.
 *
 * @param tensors those that may change
 * @throws LowRankError `ERR_UNSUPPORTED` for tensors of other types than F32.
 */
export async function withTrials<T>(
  checkpoint: Checkpoint,
  tensors: readonly TensorInfo[],
  { texts, inputs, peers, threads, signal }: CompressOptions,
  measurements: Measurements,
  use: (trials: Trials | undefined) => Promise<T>,
): Promise<T> {
  if (texts === undefined && inputs === undefined) return use(undefined);
  const { graph } = checkpoint;
  const other = tensors.find(({ dtype }) => dtype !== 'F32');
  if (graph === undefined || other !== undefined) {
    const why = other === undefined ? 'its files hold no computation' : `${other.name} is ${other.dtype}`;
    throw new LowRankError('ERR_UNSUPPORTED', `${checkpoint.path}: cannot be tried on samples: ${why}`, {
      hint: 'Leave out the texts or inputs: then ranks are chosen by the moments alone.',
    });
  }
  const runtime = await importPeer<Runtime>('onnxruntime-node', peers);
  const samples =
    texts === undefined
      ? await tensorSamples(absolutePath(inputs!), TRIAL_INPUTS)
      : await textSamples(checkpoint.main, absolutePath(texts), { ...trialTexts(tensors), peers });
  try {
    const probe = await Probe.open(checkpoint, graph, tensors, samples, runtime, threads);
    try {
      const [from, to] = probe.forCheck;
      return await use({
        probe,
        measurements,
        check: (main) => compareOutputs(checkpoint.main, main, { runtime, samples, from, to, threads, signal }),
      });
    } finally {
      await probe.close();
    }
  } finally {
    await samples.close();
  }
}
