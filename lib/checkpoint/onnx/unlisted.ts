import type { UnlistedTensors } from '../checkpoint.js';
import type { Constant } from './tensor-proto.js';

/** The location of a tensor, by the fields that lead to it. */
type TensorLocation = 'graph' | 'functions' | 'training_info' | 'sparse';

const WORDS: Readonly<Record<TensorLocation, Pick<UnlistedTensors, 'where' | 'hint'>>> = {
  graph: {
    where: 'in attributes of operators other than Constant',
    hint: 'They are copied unchanged. Export the model with its weights as initialisers to edit them.',
  },
  functions: {
    where: 'in functions of the model',
    hint: 'Inline the functions to edit them: in Python, onnx.inliner.inline_local_functions(model).',
  },
  training_info: {
    where: 'in graphs for training',
    hint: 'They are copied unchanged, and do not affect inference.',
  },
  sparse: {
    where: 'in sparse tensors',
    hint: 'Export the model with dense initialisers to edit them.',
  },
};

/**
 * Counts the matrices of a model that are not among its listed tensors: those of the whole file
 * minus the listed ones.
 */
export class Unlisted {
  readonly #counts = new Map<TensorLocation, { tensors: number; bytes: number }>();

  /** @param path the names of the fields that lead to the tensor */
  add(tensor: Constant, path: readonly string[]): void {
    const where = whereIs(path);
    if (where === 'sparse' ? path.at(-1) === 'values' : isMatrix(tensor)) this.#count(where, 1, tensor.bytes);
  }

  /** Removes one that is listed. */
  remove(tensor: Constant): void {
    if (isMatrix(tensor)) this.#count('graph', -1, -tensor.bytes);
  }

  groups(): UnlistedTensors[] {
    return [...this.#counts]
      .filter(([, { tensors }]) => tensors > 0)
      .map(([where, count]) => ({ ...WORDS[where], ...count }));
  }

  #count(where: TensorLocation, tensors: number, bytes: number): void {
    const count = this.#counts.get(where) ?? { tensors: 0, bytes: 0 };
    this.#counts.set(where, { tensors: count.tensors + tensors, bytes: count.bytes + bytes });
  }
}

function whereIs(path: readonly string[]): TensorLocation {
  if (path[0] === 'functions' || path[0] === 'training_info') return path[0];
  return path.at(-2)?.startsWith('sparse_') ? 'sparse' : 'graph';
}

function isMatrix({ dims }: Constant): boolean {
  return dims.length >= 2 && !dims.includes(0);
}
