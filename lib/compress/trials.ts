import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import type { Runtime } from '../evaluate/engines/onnx-feeds.js';
import { importPeer } from '../evaluate/engines/peers.js';
import { absolutePath } from '../files/files.js';
import type { Budget } from './budget.js';
import { compareOutputs } from './check.js';
import type { LayerFactors } from './layer-factors.js';
import type { Measurements } from './measurements.js';
import type { CompressOptions } from './options.js';
import type { OutputChange } from './output-change.js';
import { Probe, trialTexts } from './probe.js';
import { tensorSamples, textSamples } from './samples.js';
import type { Layer } from './select.js';

/** What a model is tried on: texts or inputs, in onnxruntime. */
export interface Tried {
  readonly probe: Probe;
  /**
   * Compares a written model with the original, on samples that no rank was chosen by if there are
   * enough.
   */
  check(main: string): Promise<OutputChange>;
}

/** The same, with what is kept of it. */
export interface Trials extends Tried {
  readonly measurements: Measurements;
}

/** The most inputs that a model is tried on. */
const TRIAL_INPUTS = 96;

/** Opens what layers are tried on while `use` runs, if there are texts or inputs. */
export function withTrials<T>(
  checkpoint: Checkpoint,
  layers: readonly Layer[],
  source: LayerFactors,
  options: CompressOptions,
  measurements: Measurements,
  use: (trials: Trials | undefined) => Promise<T>,
): Promise<T> {
  const tensors = layers.flatMap((layer) => [layer.info, ...[source.biasOf(layer) ?? []].flat()]);
  return withTried(checkpoint, tensors, options, (tried) => use(tried && { ...tried, measurements }));
}

/**
 * Opens what tensors are tried on while `use` runs, if there are texts or inputs.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for tensors of other types than F32.
 */
export async function withTried<T>(
  checkpoint: Checkpoint,
  tensors: readonly TensorInfo[],
  { texts, inputs, peers, threads, signal }: Omit<CompressOptions, keyof Budget>,
  use: (tried: Tried | undefined) => Promise<T>,
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
        check: (main) => compareOutputs(checkpoint.main, main, { runtime, samples, from, to, threads, signal }),
      });
    } finally {
      await probe.close();
    }
  } finally {
    await samples.close();
  }
}
