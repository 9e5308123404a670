import { ArgumentError } from '../../errors.js';
import type { QuantizedForm } from '../checkpoint.js';
import { PartList } from '../parts.js';
import type { Cut } from './cuts.js';
import { field } from './encode.js';
import type { GraphNode } from './node.js';
import { requireForm } from './quantized-form.js';
import { importOf, QuantizedNodes, type RoundedInput } from './quantized-nodes.js';
import {
  initializersOf,
  inputCuts,
  type Names,
  OWN_INITIALIZERS_SINCE,
  type Replacement,
  refusal,
  requireOnly,
  type SplicedFile,
} from './replacement.js';
import { insertion, removed } from './rewrite.js';
import type { PlacedNode, Scope, Stretch } from './scope.js';

/** From this version of the operators on there are all that these nodes need. */
const QUANTIZED_SINCE = 11;

/** A node that uses a replaced weight. */
interface Use extends PlacedNode {
  readonly nodes: QuantizedNodes;
  readonly rows: boolean;
}

/**
 * The whole numbers and scales in place of weights, and the nodes in place of those that use them.
 *
 * @param replacements of which those without a form are left to others
 */
export function quantizedCuts(source: SplicedFile, names: Names, replacements: readonly Replacement[]): Cut[] {
  const uses: Use[] = [];
  const rounded = new Map<Scope, Map<string, RoundedInput>>();
  const cuts: Cut[] = [];
  const within = [source.graph];
  const added = new Set(replacements.flatMap(({ by }) => by.map(({ name }) => name)));
  for (const replacement of replacements) {
    const { info, form } = replacement;
    if (form === undefined) continue;
    if (form.smoothing !== undefined && !added.has(form.smoothing)) {
      throw new ArgumentError(`smoothing of ${info.name}`, 'a new tensor of some weight', form.smoothing);
    }
    const initializer = requireInitializer(source, info.name);
    const { users, passes } = usersOf(source, replacement, form);
    cuts.push(
      { ...initializer, within, ...initializersOf(replacement) },
      ...passes.map(removed),
      ...inputCuts(source, replacement),
    );
    const nodes = new QuantizedNodes(form, names);
    cuts.push(...insertion(source, users, nodes.take()));
    uses.push(...users.map((use) => ({ ...use, nodes, rows: form.kind === 'rows' })));
  }
  if (uses.length === 0) return [];
  // In the order of the file: what several nodes share is made where the first of them is.
  for (const { node, nodes, rows, start, end, scope } of uses.sort((a, b) => a.start - b.start)) {
    const { name, inputs, outputs, attributes } = node;
    const [first, second, added] = inputs as [string, string, string?];
    const own = name || outputs[0]!;
    if (rows) nodes.lookUp(second, own, outputs[0]!);
    else {
      const turned = (attributes.get('transA')?.[0] ?? 0) !== 0;
      const known = rounded.get(scope) ?? new Map<string, RoundedInput>();
      rounded.set(scope, known);
      nodes.multiply(first, own, outputs[0]!, known, { turned, added: added || undefined });
    }
    const parts = new PartList();
    for (const bytes of nodes.take()) parts.bytes(field(1, bytes));
    cuts.push({ start, end, within: scope.within, parts });
  }
  // Whole numbers of 8 bits are multiplied by ONNX's own operators.
  if (replacements.every(({ form }) => form === undefined || form.kind === 'channels')) return cuts;
  const parts = new PartList();
  parts.bytes(importOf(source.domains));
  return [...cuts, { start: source.size, end: source.size, within: [], parts }];
}

function requireInitializer({ wiring, opset, irVersion }: SplicedFile, name: string): Stretch {
  const initializer = wiring.initializer(name);
  if (initializer === undefined) throw refusal(name, 'it is no initializer of the graph');
  if (opset < QUANTIZED_SINCE || irVersion < OWN_INITIALIZERS_SINCE) {
    const hint = `Convert the model to opset ${QUANTIZED_SINCE} or later.`;
    throw refusal(name, `opset ${opset} has no operators for whole numbers with scales`, hint);
  }
  return initializer;
}

/** The nodes that use a weight, which have to be all, and those that hand it on to them. */
function usersOf({ wiring }: SplicedFile, { info, by }: Replacement, form: QuantizedForm) {
  const { name } = info;
  if (form.kind === 'rows') {
    const users = wiring.lookups(name);
    if (users.length === 0) throw refusal(name, 'its rows are not looked up, or something else uses it too');
    requireForm(info, by, form, true);
    return { users, passes: [] };
  }
  const { multiplications, passes } = requireOnly(name, wiring.use(name));
  const turned = new Set(multiplications.map((each) => each.turned));
  if (turned.size > 1) throw refusal(name, 'some nodes use it transposed, others do not');
  const scales = ({ floats }: GraphNode) => (floats.get('alpha') ?? 1) !== 1 || (floats.get('beta') ?? 1) !== 1;
  if (multiplications.some(({ node }) => scales(node))) {
    throw refusal(name, 'a node scales the product, or what it adds');
  }
  requireForm(info, by, form, turned.has(true));
  return { users: multiplications, passes };
}
