import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { formatNamed } from '../checkpoint/formats.js';
import { describe, LowRankError } from '../errors.js';
import type { Model } from '../model/model.js';
import { hintForType } from '../model/not-editable.js';
import { isReadableType, type ReadableType } from '../tensor/dtype.js';
import type { LoraModule } from './adapter.js';

/** A matrix whose numbers float32 can hold. */
export interface WeightInfo extends TensorInfo {
  readonly dtype: Exclude<ReadableType, 'F64'>;
}

/** The ending of the names of modules' weights. */
const WEIGHT = '.weight';

/** Returns the path of the module whose weight the tensor is; undefined for any other tensor. */
export function moduleOf(tensor: string): string | undefined {
  return tensor.endsWith(WEIGHT) ? tensor.slice(0, -WEIGHT.length) : undefined;
}

/** Returns the name of a module's weight. */
export function weightName(module: string): string {
  return `${module}${WEIGHT}`;
}

/**
 * Returns the weight of a module. Models are saved with and without the path of their head's inner
 * model (`transformer.h.0.` or `h.0.` for GPT-2), so a name with one leading part more or less is
 * also found if it is unique.
 *
 * @throws LowRankError `ERR_NOT_FOUND` naming the module.
 */
export function weightOf({ tensors, path }: Pick<Checkpoint, 'tensors' | 'path'>, module: string): TensorInfo {
  const exact = tensors.get(weightName(module));
  if (exact !== undefined) return exact;
  const inner = tensors.get(weightName(module.slice(module.indexOf('.') + 1)));
  const outer = [...tensors.values()].filter(({ name }) => name.slice(name.indexOf('.') + 1) === weightName(module));
  const found = inner === undefined ? outer : [inner, ...outer];
  if (found.length === 1) return found[0]!;
  throw new LowRankError(
    'ERR_NOT_FOUND',
    `${path}: no tensor is the weight of the adapter's module ${describe(module)}`,
    {
      hint: 'The adapter belongs to another base model: compare lowrank lora inspect with lowrank inspect.',
    },
  );
}

/**
 * Refuses formats for which there are no adapter files.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for such a format.
 */
export function requireAdapterFormat({ path, format }: Pick<Checkpoint, 'path' | 'format'>, what: string): void {
  if (formatNamed(format).hasAdapters) return;
  throw new LowRankError('ERR_UNSUPPORTED', `${path}: adapters cannot be ${what} ${format}`, {
    hint: 'Use the safetensors checkpoint that it was made from.',
  });
}

/**
 * Returns the architecture by which an adapter in GGUF says which model it is for; undefined for a
 * checkpoint of another format.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for a GGUF file without one.
 */
export function architectureOf({
  path,
  format,
  config,
}: Pick<Checkpoint, 'path' | 'format' | 'config'>): string | undefined {
  if (format !== 'gguf') return undefined;
  const architecture = config?.['general.architecture'];
  if (typeof architecture === 'string') return architecture;
  throw new LowRankError('ERR_UNSUPPORTED', `${path}: its metadata have no general.architecture`);
}

/**
 * Checks that a tensor is a matrix of F32, F16, BF16 or of a quantised type that can be decoded.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` or `ERR_SHAPE` if it is not.
 */
export function asWeight(info: TensorInfo): WeightInfo {
  if (info.shape.length !== 2 || info.shape.includes(0)) {
    throw new LowRankError('ERR_SHAPE', `${info.name}: shape ${describe(info.shape)} is not a matrix`);
  }
  if (!isReadableType(info.dtype) || info.dtype === 'F64') {
    const supported = 'only F32, F16, BF16 and quantised types of GGUF are supported';
    throw new LowRankError('ERR_UNSUPPORTED', `${info.name}: dtype ${info.dtype}, ${supported}`, {
      hint: hintForType(info.dtype),
    });
  }
  return { ...info, dtype: info.dtype };
}

/** A module of an adapter, and the weight that its update is added to. */
interface Adapted<T extends Pick<TensorInfo, 'name' | 'shape'> = WeightInfo> {
  readonly info: T;
  readonly module: LoraModule;
}

/**
 * Determines whether each weight is stored [in, out]. The shapes of the weight and its module
 * decide, unless the weight is square. Then the model decides, otherwise the other modules of the
 * adapter if they agree, otherwise the adapter's `fan_in_fan_out`. PEFT decides by the layer's
 * class, so the flag alone would be wrong in a model with both kinds.
 *
 * @throws LowRankError `ERR_SHAPE` if a module fits in neither orientation.
 */
export function areTransposed<T extends Pick<TensorInfo, 'name' | 'shape'>>(
  adapted: readonly Adapted<T>[],
  model: Pick<Model, 'roleOf'> | undefined,
  byConfig: boolean,
): boolean[] {
  const byShape = adapted.map(isTransposedByShape);
  const isOfLayer = ({ info }: Adapted<T>) => model === undefined || model.roleOf(info.name) !== undefined;
  const ofLayers = byShape.filter((_, i) => adapted[i]!.module.kind === 'linear' && isOfLayer(adapted[i]!));
  const agreed = new Set(ofLayers.filter((transposed) => transposed !== undefined));
  return adapted.map((item, i) => {
    const orientation = model?.roleOf(item.info.name)?.orientation;
    const byModel = orientation === undefined ? undefined : orientation === 'in x out';
    const byOthers = agreed.size === 1 && isOfLayer(item) ? [...agreed][0] : undefined;
    return byShape[i] ?? byModel ?? byOthers ?? byConfig;
  });
}

/** Decides by the shapes; undefined for a square weight, which fits both ways. */
function isTransposedByShape({
  info: { name, shape },
  module,
}: Adapted<Pick<TensorInfo, 'name' | 'shape'>>): boolean | undefined {
  const [out, width] = [module.b.shape[0]!, module.a.shape[1]!];
  const fits = (m: number, n: number) => shape[0] === m && shape[1] === n;
  const [straight, turned] = [fits(out, width), fits(width, out)];
  if (module.kind === 'embedding' ? !turned : !straight && !turned) {
    const message = `${name}: shape ${describe(shape)} does not fit the adapter's update [${out}, ${width}]`;
    throw new LowRankError('ERR_SHAPE', message, { hint: 'The adapter belongs to another base model.' });
  }
  if (module.kind === 'embedding') return true;
  return straight && turned ? undefined : turned;
}
