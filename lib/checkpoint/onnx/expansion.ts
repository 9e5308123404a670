import { describe, LowRankError } from '../../errors.js';
import type { NewTensorInfo } from '../checkpoint.js';
import { PartList } from '../parts.js';
import type { Cut } from './cuts.js';
import { node } from './encode.js';
import { type FactoredProduct, factoredUse } from './factored.js';
import { initializersOf, inputCuts, type Names, type Replacement, type SplicedFile } from './replacement.js';
import { insertion, removed, rewired } from './rewrite.js';

/**
 * The weight in place of its factors, and the nodes that multiply by it in place of those that
 * multiply by the factors. A weight that lies as [out, in] is turned by the nodes that can do that,
 * and by a node for the others.
 *
 * @param replacement of the left factor
 * @throws LowRankError `ERR_UNSUPPORTED` where the graph does something else with the factors;
 *   `ERR_SHAPE` where the new tensor is not the weight.
 */
export function expansionCuts(source: SplicedFile, names: Names, replacement: Replacement): Cut[] {
  const { wiring, graph } = source;
  const { info } = replacement;
  const { right, order, turned } = replacement.times!;
  const weight = expanded(replacement);
  const { products, made, shape } = factoredUse(wiring, weight.name, info.name, { right, order });
  const byGemm = ({ outer }: FactoredProduct) => outer.node.opType === 'Gemm';
  const isTurnedBefore = turned && !products.every(byGemm);
  const other = isTurnedBefore ? names.unused(`${weight.name}.turned`) : weight.name;
  const within = [graph];
  const gone = [right, ...(order === undefined ? [] : [order]), ...(shape === undefined ? [] : [shape])];
  const nodes = products.flatMap(({ inner, outer, turn }): Cut[] => {
    const x = turn?.node.inputs[0] ?? inner?.node.inputs[0] ?? outer.node.inputs[0]!;
    const turns = turned && outer.node.opType === 'Gemm';
    const parts = new PartList();
    rewired(parts, source, outer, [x, turns ? weight.name : other], {
      without: ['transB', ...(turn === undefined ? [] : ['transA'])],
      with: { ...(turn !== undefined && { transA: 1 }), ...(turns && { transB: 1 }) },
    });
    const { start, end, scope } = outer;
    return [
      ...[inner, turn].flatMap((each) => (each === undefined ? [] : [removed(each)])),
      { start, end, within: scope.within, parts },
    ];
  });
  const turning = node('Transpose', other, [weight.name], other);
  return [
    { ...wiring.initializer(info.name)!, within, ...initializersOf(replacement) },
    ...gone.map((name) => ({ ...wiring.initializer(name)!, within, parts: new PartList() })),
    ...inputCuts(source, replacement),
    ...gone.flatMap((name) => wiring.input(name) ?? []).map((input) => ({ ...input, within, parts: new PartList() })),
    ...made.map(removed),
    ...insertion(
      source,
      products.map(({ outer }) => outer),
      isTurnedBefore ? [turning] : [],
    ),
    ...nodes,
  ];
}

/** The one matrix that takes the place of a left factor [in, k]. */
function expanded({ info, by, times }: Replacement): NewTensorInfo {
  const [weight] = by;
  const inputs = weight?.shape[times!.turned ? 1 : 0];
  if (weight !== undefined && by.length === 1 && weight.dtype === info.dtype && inputs === info.shape[0]) return weight;
  const text = by.map(({ dtype, shape }) => `${dtype} ${describe(shape)}`).join(', ');
  throw new LowRankError('ERR_SHAPE', `${info.name}: ${text} is not the product of ${describe(info.shape)} and others`);
}
