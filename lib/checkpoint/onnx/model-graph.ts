import type { ModelGraph, Orientation, TensorInfo } from '../checkpoint.js';
import { factoredUse } from './factored.js';
import { keyOf, type ObservedValue, withInputs, withOutputs } from './observed.js';
import type { SplicedFile } from './replacement.js';
import type { Scope } from './scope.js';

/** What the tensors of a model say about its graph. */
interface Tensors {
  /** Those that nodes multiply by. */
  readonly weights: Iterable<TensorInfo>;
  /** Whether a tensor can be edited without a change of any other. */
  isItsOwn(name: string): boolean;
  /** How the weight lay that became a left factor and others. */
  orientationOfFactored(left: string): Orientation;
}

/** Describes how values flow through a model. */
export function modelGraph(source: SplicedFile, tensors: Tensors): ModelGraph {
  const { wiring } = source;
  /** What the model can return a value of a graph as, wherever around it that comes from. */
  const observed = (scope: Scope, name: string) => keyOf(wiring, wiring.homeOf(scope, name), name);
  return {
    inputsOf: (weight) => {
      const nodes = wiring.use(weight).multiplications;
      const turned = nodes.some(({ node }) => (node.attributes.get('transA')?.[0] ?? 0) !== 0);
      const keys = nodes.map(({ node, scope }) => observed(scope, node.inputs[0]!));
      return turned || keys.includes(undefined) ? [] : [...new Set(keys as string[])];
    },
    productOf: (weight) => {
      const [only, ...others] = wiring.use(weight).multiplications;
      if (only === undefined || others.length > 0 || only.node.opType !== 'MatMul') return undefined;
      return observed(only.scope, only.node.outputs[0]!);
    },
    biasOf: (weight) => {
      const bias = wiring.biasOf(weight);
      return bias !== undefined && tensors.isItsOwn(bias) ? bias : undefined;
    },
    isLookedUp: (weight) => wiring.initializer(weight) !== undefined && wiring.lookups(weight).length > 0,
    factoredWeight: (weight, left, others) => {
      factoredUse(wiring, weight, left, others);
      return tensors.orientationOfFactored(left);
    },
    observing: (keys) => {
      const inBodies = valuesInBodies(source, tensors.weights);
      const ofModel = (key: string): ObservedValue => ({ key, name: key, scope: wiring.model, dtype: 'F32' });
      return withOutputs(
        source,
        [...keys].map((key) => inBodies.get(key) ?? ofModel(key)),
      );
    },
    feeding: (weights) => withInputs(source, weights),
  };
}

/** The values of the bodies of nodes that weights multiply, and their products. */
function valuesInBodies({ wiring }: SplicedFile, weights: Iterable<TensorInfo>): Map<string, ObservedValue> {
  const values = new Map<string, ObservedValue>();
  for (const { name: weight, dtype } of weights) {
    for (const { scope: user, node } of wiring.use(weight).multiplications) {
      for (const name of [node.inputs[0]!, node.outputs[0]!]) {
        const scope = wiring.homeOf(user, name);
        const key = scope.outer && keyOf(wiring, scope, name);
        // What is multiplied, and the product, have the type of the weight.
        if (key !== undefined) values.set(key, { key, name, scope, dtype });
      }
    }
  }
  return values;
}
