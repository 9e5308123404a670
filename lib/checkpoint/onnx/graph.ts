import { describe } from '../../errors.js';
import { MAX_DIMENSIONS, MAX_GRAPH_NODES, MAX_NODE_VALUES } from '../limits.js';
import { BYTES, type Field, type ProtobufFile, type Span, VARINT } from './protobuf.js';
import type { Constant } from './tensor-proto.js';
import { type Sources, Usages } from './usage.js';

/** What is read of a NodeProto. */
export interface GraphNode {
  readonly name: string;
  readonly opType: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole-number attributes, and lists of a few of them. */
  readonly attributes: ReadonlyMap<string, readonly number[]>;
}

/** Where in the file the model's graph is. */
export async function findGraph(proto: ProtobufFile): Promise<Span> {
  let graph: Span | undefined;
  let hasVersion = false;
  await proto.message({ begin: 0, end: proto.size }, (field) => {
    if (field.number === 1 && field.type === VARINT) hasVersion = true;
    if (field.number !== 7) return undefined;
    if (field.type !== BYTES) throw proto.fault('InvalidProtobuf', 'has a graph that is no message');
    if (graph !== undefined) throw proto.fault('InvalidProtobuf', 'has two graphs');
    graph = field;
    return undefined;
  });
  if (graph !== undefined && hasVersion) return graph;
  throw proto.fault('NotOnnx', `is a protobuf file without ${graph === undefined ? 'a graph' : 'an ir_version'}`, {
    hint: 'TensorFlow and Core ML write such files too. Convert the model to ONNX, or give its safetensors files.',
  });
}

/** The tensors that a graph holds, and what its nodes do with them. */
export interface Graph {
  /** By name: the initialisers of the graph, then those of graphs inside it and the matrices of `Constant` nodes. */
  readonly tensors: ReadonlyMap<string, Constant>;
  readonly usages: Usages;
}

/** A tensor under the name that the nodes of its own graph know it by. */
interface Found {
  readonly name: string;
  /** For each graph around it but the model's own: the node that holds it, by its first output, and the attribute. */
  readonly path: readonly string[];
  readonly tensor: Constant;
}

/** A graph inside a node. */
interface InnerGraph {
  readonly attribute: string;
  readonly span: Span;
}

/**
 * Reads a graph and the graphs inside it, whose structure has been checked.
 *
 * @param constants the initialisers and constant matrices of the file, by their first byte
 * @throws {@link CheckpointError} kinds `DuplicateTensor`, `InvalidTensor`, `TooManyNodes`, and those of {@link ProtobufFile}.
 */
export async function readGraph(
  proto: ProtobufFile,
  graph: Span,
  constants: ReadonlyMap<number, Constant>,
): Promise<Graph> {
  const found: Found[] = [];
  const usages = new Usages();
  let nodes = 0;
  const onNode = async (field: Field, path: readonly string[]) => {
    if (++nodes > MAX_GRAPH_NODES) throw proto.fault('TooManyNodes', `has more than ${MAX_GRAPH_NODES} nodes`);
    const { node, graphs, value } = await readNode(proto, field);
    const [output] = node.outputs;
    const tensor = value && constants.get(value.begin);
    if (tensor !== undefined && output && node.opType === 'Constant') {
      found.push({ name: output, path, tensor });
      usages.define(output, tensor);
    }
    usages.visit(node);
    const results: Sources[][] = [];
    for (const { attribute, span } of graphs) {
      results.push(await walk(span, [...path, output ?? node.opType, attribute]));
    }
    if (node.opType === 'If') usages.join(node, results);
  };
  /** @returns where the outputs of the graph come from */
  const walk = async (span: Span, path: readonly string[]): Promise<Sources[]> => {
    const { initializers, outputs } = await readEnds(proto, span, constants);
    usages.enter(initializers);
    for (const [name, tensor] of initializers) found.push({ name, path, tensor });
    await proto.message(span, (field) => (field.number === 1 ? onNode(field, path) : undefined));
    return usages.leave(outputs);
  };
  await walk(graph, []);
  return { tensors: byUniqueName(proto, found), usages };
}

/** Two branches may call their own tensors alike: then the path to each goes before the name. */
function byUniqueName(proto: ProtobufFile, found: readonly Found[]): Map<string, Constant> {
  const count = new Map<string, number>();
  for (const { name } of found) count.set(name, (count.get(name) ?? 0) + 1);
  const tensors = new Map<string, Constant>();
  for (const { name, path, tensor } of found) {
    const unique = count.get(name) === 1 ? name : [...path, name].join('.');
    if (tensors.has(unique)) throw proto.fault('DuplicateTensor', `has two tensors called ${describe(unique)}`);
    tensors.set(unique, tensor);
  }
  return tensors;
}

/** What a graph begins and ends with: its constant tensors by name, without those of graphs inside it, and its outputs. */
async function readEnds(proto: ProtobufFile, graph: Span, constants: ReadonlyMap<number, Constant>) {
  const initializers = new Map<string, Constant>();
  const outputs: string[] = [];
  await proto.message(graph, (field) => {
    if (field.number === 12 && field.type === BYTES) {
      let name = '';
      return proto
        .message(field, (part) => {
          if (part.number === 1) name = proto.text(part, 'the name of an output');
          return undefined;
        })
        .then(() => {
          outputs.push(name);
        });
    }
    if (field.number !== 5) return undefined;
    const tensor = constants.get(field.begin);
    if (tensor === undefined) throw proto.fault('InvalidProtobuf', 'has an initializer that is no message');
    const { name } = tensor;
    if (name === '') throw proto.fault('InvalidTensor', `the initializer at byte ${field.begin} has no name`);
    if (initializers.has(name)) throw proto.fault('DuplicateTensor', `has two initializers called ${describe(name)}`);
    initializers.set(name, tensor);
    return undefined;
  });
  return { initializers, outputs };
}

async function readNode(
  proto: ProtobufFile,
  span: Field,
): Promise<{ node: GraphNode; graphs: readonly InnerGraph[]; value: Span | undefined }> {
  if (span.type !== BYTES) throw proto.fault('InvalidProtobuf', `the node at byte ${span.begin} is no message`);
  const [inputs, outputs, graphs]: [string[], string[], InnerGraph[]] = [[], [], []];
  const attributes = new Map<string, readonly number[]>();
  let name = '';
  let opType = '';
  let value: Span | undefined;
  await proto.message(span, (field) => {
    switch (field.number) {
      case 1:
        inputs.push(proto.text(field, 'an input of a node'));
        break;
      case 2:
        outputs.push(proto.text(field, 'an output of a node'));
        break;
      case 3:
        name = proto.text(field, 'the name of a node');
        break;
      case 4:
        opType = proto.text(field, 'the op_type of a node');
        break;
      case 5:
        return readAttribute(proto, field).then((attribute) => {
          if (attribute.numbers.length > 0) attributes.set(attribute.name, attribute.numbers);
          for (const graph of attribute.graphs) graphs.push({ attribute: attribute.name, span: graph });
          if (attribute.name === 'value') value = attribute.tensor;
        });
    }
    if (inputs.length > MAX_NODE_VALUES || outputs.length > MAX_NODE_VALUES) {
      throw proto.fault('TooManyNodes', `the node at byte ${span.begin} has over ${MAX_NODE_VALUES} inputs or outputs`);
    }
    return undefined;
  });
  return { node: { name, opType, inputs, outputs, attributes }, graphs, value };
}

async function readAttribute(proto: ProtobufFile, span: Field) {
  if (span.type !== BYTES) throw proto.fault('InvalidProtobuf', `the attribute at byte ${span.begin} is no message`);
  let name = '';
  let tensor: Span | undefined;
  const graphs: Span[] = [];
  const numbers: number[] = [];
  await proto.message(span, (field) => {
    const { number, type, begin } = field;
    if (number === 1) name = proto.text(field, 'the name of an attribute');
    if (number === 5 && type === BYTES) tensor = field;
    if (number === 6 || number === 11) {
      if (type !== BYTES) throw proto.fault('InvalidProtobuf', `the graph at byte ${begin} is no message`);
      graphs.push(field);
    }
    // Longer lists are data of other operators; those that matter here have a number for each dimension.
    if ((number === 3 || number === 8) && numbers.length < MAX_DIMENSIONS) {
      numbers.push(...(proto.integers(field, 'an attribute') ?? []));
    }
    return undefined;
  });
  return { name, tensor, graphs, numbers };
}
