import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';
import { type Family, stacksOf } from '../model/families/family.js';
import { Model } from '../model/model.js';
import { isMatrixOrBatch, matricesNamed, type SkippedTensors } from '../model/names.js';
import { sameShape } from '../tensor/tensor.js';
import type { LoraKind } from './adapter.js';
import { asWeight, moduleOf, type WeightInfo } from './modules.js';

/** A matrix that both checkpoints have, and the module that its update belongs to. */
export interface SelectedModule {
  readonly tensor: string;
  /** The path by which PEFT looks it up. */
  readonly name: string;
  readonly kind: LoraKind;
  readonly transposed: boolean;
  readonly info: WeightInfo;
  readonly baseInfo: WeightInfo;
}

/**
 * Layers that look up vectors, by their names in the transformers library and in GGUF: their
 * updates are stored differently.
 */
const EMBEDDINGS =
  /(?:^|\.)(?:wte|wpe|token_embd|embed_tokens|embed_positions|embed_in|(?:word|position|token_type)_embeddings)$/;

/** Whether a module looks up vectors. */
export function isEmbedding(module: string): boolean {
  return EMBEDDINGS.test(module);
}

/** The options that select modules; see `ExtractOptions`. */
interface ModuleChoice {
  readonly tensors?: readonly string[] | undefined;
  readonly family?: string | undefined;
  readonly fanInFanOut?: boolean | undefined;
}

/**
 * Finds the matrices whose difference is extracted.
 *
 * @throws LowRankError `ERR_NOT_FOUND` for a matrix that `base` lacks; `ERR_SHAPE`;
 *   `ERR_UNSUPPORTED` for a tensor that is not the weight of a module.
 */
export function selectModules(
  base: Checkpoint,
  tuned: Checkpoint,
  options: ModuleChoice,
): { selected: SelectedModule[]; skipped: readonly SkippedTensors[] } {
  const model = options.tensors === undefined ? new Model(tuned, options.family) : Model.find(tuned, options.family);
  const { infos, skipped } =
    options.tensors === undefined
      ? { infos: layerMatrices(tuned, model!), skipped: [] }
      : namedMatrices(tuned, options.tensors);
  const prefix = missingPrefix(tuned, model?.family);
  const selected = infos.map((info): SelectedModule => {
    const name = moduleOf(info.name);
    if (name === undefined) {
      throw new LowRankError(
        'ERR_UNSUPPORTED',
        `${info.name}: PEFT adapts the weights of modules, and this is not one`,
        {
          hint: 'Choose tensors whose names end in .weight.',
        },
      );
    }
    const own = base.tensors.get(info.name);
    if (own === undefined) {
      throw new LowRankError(
        'ERR_NOT_FOUND',
        `${base.path}: has no tensor ${describe(info.name)}, unlike ${tuned.path}`,
      );
    }
    if (!sameShape(own.shape, info.shape)) {
      const shapes = `${describe(own.shape)} in ${base.path}, ${describe(info.shape)} in ${tuned.path}`;
      throw new LowRankError('ERR_SHAPE', `${info.name}: ${shapes}`, { hint: 'They must be the same model.' });
    }
    const kind: LoraKind = isEmbedding(name) ? 'embedding' : 'linear';
    const transposed = kind === 'embedding' || isTransposed(info.name, model, options.fanInFanOut);
    return {
      tensor: info.name,
      name: prefix + name,
      kind,
      transposed,
      info: asWeight(info),
      baseInfo: asWeight(own),
    };
  });
  return { selected, skipped };
}

/**
 * Whether a tensor is stored [in, out].
 *
 * @throws LowRankError `ERR_SHAPE` if a layer's shapes contradict config.json and the caller has
 *   not decided.
 */
export function isTransposed(tensor: string, model: Model | undefined, fanInFanOut: boolean | undefined): boolean {
  const role = model?.roleOf(tensor);
  if (role === undefined || (role.orientation === undefined && fanInFanOut !== undefined)) return fanInFanOut ?? false;
  return model!.orientationOf(tensor) === 'in x out';
}

/**
 * Returns the stored tensors of the layers that are matrices; experts stored in one tensor are not.
 */
function layerMatrices(checkpoint: Checkpoint, model: Model): TensorInfo[] {
  const names = new Set(model.select('all', ['all']).map(({ tensor }) => tensor));
  return [...checkpoint.tensors.values()].filter((info) => names.has(info.name) && isWeightOfModule(info));
}

function namedMatrices(
  checkpoint: Checkpoint,
  globs: readonly string[],
): { infos: TensorInfo[]; skipped: SkippedTensors[] } {
  const found = globs.map((glob) => matricesNamed(checkpoint, glob, isWeightOfModule));
  const names = new Set(found.flatMap(({ matrices }) => matrices.map(({ name }) => name)));
  return {
    infos: [...checkpoint.tensors.values()].filter(({ name }) => names.has(name)),
    skipped: found.flatMap(({ skipped }) => skipped ?? []),
  };
}

/** Experts stored in one tensor are modules of no adapter. */
function isWeightOfModule(info: TensorInfo): boolean {
  return info.shape.length === 2 && isMatrixOrBatch(info) && moduleOf(info.name) !== undefined;
}

/**
 * Returns the path that PEFT's model has before the checkpoint's names: a model with a head is
 * often saved as `h.0.` but loaded as `transformer.h.0.`.
 */
export function missingPrefix({ config, tensors }: Checkpoint, family: Family | undefined): string {
  const { architectures, model_type } = config ?? {};
  const architecture = Array.isArray(architectures) ? architectures[0] : undefined;
  if (family === undefined || typeof architecture !== 'string' || !/For[A-Z]|Head/.test(architecture)) return '';
  const roots = ['model.', 'transformer.', `${model_type}.`];
  for (const { prefixes } of family.namings.flatMap(stacksOf)) {
    const used = prefixes.find((prefix) => [...tensors.keys()].some((name) => name.startsWith(prefix)));
    if (used === undefined) continue;
    const longer = prefixes.filter((prefix) => prefix !== used && prefix.endsWith(`.${used}`));
    const roofs = longer.map((prefix) => prefix.slice(0, -used.length)).filter((root) => roots.includes(root));
    return roofs[0] ?? '';
  }
  return '';
}
