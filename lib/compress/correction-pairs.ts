import type { LoraKind } from '../adapters/adapter.js';
import { architectureOf, asWeight, moduleOf, type WeightInfo, weightName } from '../adapters/modules.js';
import { isEmbedding, isTransposed, missingPrefix } from '../adapters/select-modules.js';
import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';
import { GgufNames } from '../model/gguf-names.js';
import { Model } from '../model/model.js';
import { isMatrixOrBatch, matricesNamed } from '../model/names.js';
import { pyTorchRows, reordered } from '../model/row-order.js';
import { toFloat32 } from '../tensor/convert.js';
import { isReadableType } from '../tensor/dtype.js';
import { type PlainTensor, sameShape } from '../tensor/tensor.js';
import type { LeftOut } from './select.js';
import { transposed } from './stored-factors.js';

/** A weight of a quantised model, and the same weight of the original. */
export interface WeightPair {
  /** The name by which the adapter knows it. */
  readonly module: string;
  readonly kind: LoraKind;
  /** Whether the quantised model stores it [in, out]. */
  readonly transposed: boolean;
  readonly quantised: WeightInfo;
  /** The names by which a file of moments may know it. */
  readonly names: readonly string[];
  /** Reads the original, laid out as the quantised one. */
  readonly original: () => Promise<PlainTensor>;
}

/** The options that select weights; see `CorrectOptions`. */
interface PairChoice {
  readonly tensors?: readonly string[] | undefined;
  readonly family?: string | undefined;
}

/**
 * Finds the weights of a quantised model that can be corrected: by default the matrices of its
 * layers. All other matrices are left out, each with the reason.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for formats that do not go together; `ERR_SHAPE` for a
 *   weight that has another shape in the original; as {@link Model}.
 */
export function pairWeights(
  original: Checkpoint,
  quantised: Checkpoint,
  { tensors, family }: PairChoice,
): { pairs: WeightPair[]; leftOut: LeftOut[] } {
  const model = tensors === undefined ? new Model(quantised, family) : Model.find(quantised, family);
  const finder = new OriginalFinder(original, quantised);
  const prefix = quantised.format === 'gguf' ? '' : missingPrefix(quantised, model?.family);
  const wanted =
    tensors && new Set(tensors.flatMap((glob) => matricesNamed(quantised, glob).matrices.map(({ name }) => name)));
  const pairs: WeightPair[] = [];
  const leftOut: LeftOut[] = [];
  for (const info of quantised.tensors.values()) {
    if (wanted === undefined ? !isMatrixOrBatch(info) : !wanted.has(info.name)) continue;
    const found = pairOf(info, wanted !== undefined);
    if (typeof found === 'string') leftOut.push({ name: info.name, why: found });
    else pairs.push(found);
  }
  return { pairs, leftOut };

  function pairOf(info: TensorInfo, named: boolean): WeightPair | string {
    const { name, dtype, shape } = info;
    const module = moduleOf(name);
    if (module === undefined) return 'it is not the weight of a module';
    // llama.cpp looks up a row of the factors, but multiplies by the same tensor if it is also the
    // head.
    if (isEmbedding(module)) return 'it is an embedding';
    if (!named && model?.roleOf(name) === undefined) return 'it is no matrix of a layer';
    if (shape.length !== 2) return `it holds several matrices, of shape ${describe(shape)}`;
    if (!isReadableType(dtype) || dtype === 'F64') return `its type ${dtype} cannot be decoded`;
    const source = finder.find(module);
    if (typeof source === 'string') return source;
    return {
      module: prefix + module,
      kind: 'linear',
      transposed: isTransposed(name, model, undefined),
      quantised: asWeight(info),
      names: [name, ...finder.otherNames(module)],
      original: source.read,
    };
  }
}

/** Finds weights in the original, which may have the names and row orders of the other format. */
class OriginalFinder {
  readonly #names: GgufNames | undefined;
  readonly #model: Model | undefined;

  constructor(
    private readonly original: Checkpoint,
    private readonly quantised: Checkpoint,
  ) {
    const { format } = quantised;
    if (format === 'onnx' || original.format === 'onnx' || (format !== 'gguf' && original.format === 'gguf')) {
      const formats = `${original.path} is ${original.format}, ${quantised.path} is ${format}`;
      throw new LowRankError('ERR_UNSUPPORTED', `${formats}: no adapter leads from one to the other`, {
        hint: 'Pass an original in safetensors or GGUF and a quantised GGUF, or two checkpoints in safetensors.',
      });
    }
    const converted = original.format !== format;
    this.#names = converted
      ? new GgufNames(original.config, original.path)
      : GgufNames.find(original.config ?? quantised.config);
    if (!converted) return;
    this.#model = Model.find(original);
    const architecture = architectureOf(quantised);
    if (this.#names!.architecture !== architecture) {
      const message = `${original.path} would be a GGUF of the architecture ${this.#names!.architecture}, but ${quantised.path} has ${describe(architecture)}`;
      throw new LowRankError('ERR_UNSUPPORTED', message, { hint: 'They must be the same model.' });
    }
  }

  /** The names of a module's weight in the other format. */
  otherNames(module: string): string[] {
    const other =
      this.quantised.format === 'gguf' ? this.#names?.inPyTorch(module, this.#exists) : this.#names?.inGguf(module);
    return other === undefined ? [] : [weightName(other.module)];
  }

  find(module: string): { read: () => Promise<PlainTensor> } | string {
    const { original, quantised } = this;
    const own = quantised.tensors.get(weightName(module))!;
    if (original.format === quantised.format) {
      const info = original.tensors.get(own.name);
      if (info === undefined) return 'the original has no such weight';
      return { read: () => this.#read(this.#checked(info, own, info.shape)) };
    }
    const other = this.#names!.inPyTorch(module, this.#exists);
    const info = other && original.tensors.get(weightName(other.module));
    if (info === undefined) return `the original has no such weight${other === undefined ? '' : ` (${other.module})`}`;
    const turned = this.#model?.roleOf(info.name)?.orientation === 'in x out';
    const shape = turned ? info.shape.toReversed() : info.shape;
    this.#checked(info, own, shape);
    const order = other?.rows && pyTorchRows(other.rows, shape[0]!, own.name);
    return {
      read: async () => {
        const { data } = await this.#read(info);
        const straight = turned ? transposed(data, info.shape[0]!, info.shape[1]!) : data;
        return { data: order === undefined ? straight : reordered(straight, order), shape };
      },
    };
  }

  readonly #exists = (module: string) => this.original.tensors.has(weightName(module));

  #checked(info: TensorInfo, own: TensorInfo, shape: readonly number[]): TensorInfo {
    asWeight(info);
    if (sameShape(shape, own.shape)) return info;
    const shapes = `${describe(shape)} in ${this.original.path}, ${describe(own.shape)} in ${this.quantised.path}`;
    throw new LowRankError('ERR_SHAPE', `${own.name}: ${shapes}`, { hint: 'They must be the same model.' });
  }

  async #read({ name, dtype, shape }: TensorInfo): Promise<PlainTensor> {
    return { data: toFloat32(await this.original.read(name), dtype), shape };
  }
}
