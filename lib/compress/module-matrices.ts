import { moduleOf } from '../adapters/modules.js';
import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { FAMILIES } from '../model/families/families.js';
import { tensorsInGguf } from '../model/gguf-names.js';
import { Model, type Role } from '../model/model.js';
import { isFloatDType } from '../tensor/dtype.js';

/** A matrix of a file without a graph: the weight of a linear layer, or not, and why. */
export type ModuleMatrix =
  | { readonly info: Required<Pick<TensorInfo, 'orientation'>> & TensorInfo; readonly ggufNames: readonly string[] }
  | { readonly info: TensorInfo; readonly why: string };

const EMBEDDING = /embed|\b(?:wte|wpe)\b/;

/**
 * Lists the matrices of a file without a graph, in its order, and tells which of them belong to
 * linear layers. Only names tell: those that the model's family gives to the matrices of its
 * layers, and those that `isHead` knows. Nothing is guessed about others.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` if no family is known.
 */
export function moduleMatrices(checkpoint: Checkpoint, isHead: (name: string) => boolean): ModuleMatrix[] {
  const model = Model.find(checkpoint);
  if (model === undefined) throw unknownFamily(checkpoint);
  return [...checkpoint.tensors.values()].flatMap((info): ModuleMatrix[] => {
    const { name, shape } = info;
    const role = model.roleOf(name);
    if (role === undefined && (shape.length !== 2 || !isFloatDType(info.dtype))) return [];
    if (role !== undefined) {
      const { orientation } = role;
      const why = obstacle(info, role);
      if (why !== undefined || orientation === undefined) return [{ info, why: why ?? CONTRADICTION }];
      return [{ info: { ...info, orientation }, ggufNames: ggufNames(model, name, role) }];
    }
    // Every head of these names is a Linear of torch, also in models whose layers are not.
    const isLinear = isHead(name) && moduleOf(name) !== undefined;
    if (isLinear && !isTied(checkpoint, info)) return [{ info: { ...info, orientation: 'out x in' }, ggufNames: [] }];
    return [{ info, why: isLinear ? TIED : whyNot(name, model) }];
  });
}

const CONTRADICTION = 'its shape and config.json contradict each other';
const TIED = 'config.json does not say that it is another matrix than the embedding (tie_word_embeddings: false)';

function obstacle({ name, shape }: TensorInfo, { orientation }: Role): string | undefined {
  if (shape.length !== 2) return `it has ${shape.length} dimensions`;
  if (Math.min(...shape) < 2) return 'it is a vector';
  if (moduleOf(name) === undefined) return 'it is not the weight of a module';
  return orientation === undefined ? CONTRADICTION : undefined;
}

function whyNot(name: string, { family }: Model): string {
  return EMBEDDING.test(name)
    ? 'it is an embedding'
    : `no matrix of a layer has this name in the ${family.name} family`;
}

/**
 * Whether a head may be the embedding by another name: configs leave the flag out where it is true.
 */
function isTied({ config }: Checkpoint, { shape }: TensorInfo): boolean {
  const text = config?.text_config;
  const all = [config, text].filter((part) => typeof part === 'object' && part !== null) as Record<string, unknown>[];
  if (all.some(({ tie_word_embeddings: tied }) => tied === false)) return false;
  return all.every(({ vocab_size: size }) => size === undefined || size === shape[0]);
}

/** The names of what GGUF calls the same matrix, or one with the same input, as q, k and v have. */
function ggufNames({ family }: Model, name: string, { layer, types }: Role): string[] {
  return /\.experts\./.test(name) ? [] : tensorsInGguf(family, layer, types);
}

function unknownFamily({ path, config }: Checkpoint): LowRankError {
  const why = config === undefined ? 'there is no config.json' : 'config.json names no known family of models';
  return new LowRankError('ERR_UNSUPPORTED', `${path}: its linear layers are not known: ${why}`, {
    hint: `Known are ${FAMILIES.map(({ name }) => name).join(', ')}. An ONNX export of any model can be compressed.`,
  });
}
