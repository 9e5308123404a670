import { describe } from '../../errors.js';
import { MAX_DIMENSIONS, MAX_GRAPH_DEPTH, MAX_GRAPH_NODES, MAX_INITIALIZERS, MAX_NODE_VALUES } from '../limits.js';
import { BYTES, type Field, type ProtobufFile, type Span, VARINT } from './protobuf.js';
import { type Initializer, readTensorProto } from './tensor-proto.js';

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

/**
 * The constant tensors of a graph, without those of graphs inside it, by name.
 *
 * @throws {@link CheckpointError} kinds `DuplicateTensor`, `TooManyTensors`, and those of {@link readTensorProto}.
 */
export async function readInitializers(proto: ProtobufFile, graph: Span): Promise<Map<string, Initializer>> {
  const initializers = new Map<string, Initializer>();
  await proto.message(graph, (field) => {
    if (field.number !== 5) return undefined;
    if (field.type !== BYTES) throw proto.fault('InvalidProtobuf', 'has an initializer that is no message');
    return readTensorProto(proto, field).then((initializer) => {
      if (initializers.has(initializer.name)) {
        throw proto.fault('DuplicateTensor', `has two initializers called ${describe(initializer.name)}`);
      }
      if (initializers.set(initializer.name, initializer).size > MAX_INITIALIZERS) {
        throw proto.fault('TooManyTensors', `has more than ${MAX_INITIALIZERS} initializers`);
      }
    });
  });
  return initializers;
}

/**
 * Shows every node of a graph to `visit`, in their order, which is the one in which they are computed. The nodes of a graph
 * inside a node come right after that node.
 *
 * @returns whether some tensor among the nodes, which is no initialiser of the graph itself, has its data in another file
 * @throws {@link CheckpointError} kinds `GraphTooDeep`, `TooManyNodes`, and those of {@link ProtobufFile}.
 */
export async function visitNodes(proto: ProtobufFile, graph: Span, visit: (node: GraphNode) => void): Promise<boolean> {
  let nodes = 0;
  let hasExternal = false;
  const onTensor = (tensor: Field) =>
    proto.message(tensor, ({ number, value }) => {
      if (number === 14 && value === 1) hasExternal = true;
      return undefined;
    });
  const walk = async (span: Span, depth: number): Promise<void> => {
    if (depth > MAX_GRAPH_DEPTH) {
      throw proto.fault('GraphTooDeep', `has more than ${MAX_GRAPH_DEPTH} graphs inside each other`);
    }
    await proto.message(span, (field) => {
      if (field.number === 1) return onNode(field, depth);
      return field.number === 5 && field.type === BYTES && depth > 0 ? onTensor(field) : undefined;
    });
  };
  const onNode = async (field: Field, depth: number) => {
    if (++nodes > MAX_GRAPH_NODES) throw proto.fault('TooManyNodes', `has more than ${MAX_GRAPH_NODES} nodes`);
    const { node, graphs } = await readNode(proto, field, onTensor);
    visit(node);
    for (const inner of graphs) await walk(inner, depth + 1);
  };
  await walk(graph, 0);
  return hasExternal;
}

async function readNode(
  proto: ProtobufFile,
  span: Field,
  onTensor: (tensor: Field) => Promise<void>,
): Promise<{ node: GraphNode; graphs: Span[] }> {
  if (span.type !== BYTES) throw proto.fault('InvalidProtobuf', `the node at byte ${span.begin} is no message`);
  const [inputs, outputs, graphs]: [string[], string[], Span[]] = [[], [], []];
  const attributes = new Map<string, readonly number[]>();
  let name = '';
  let opType = '';
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
        return readAttribute(proto, field, attributes, graphs, onTensor);
    }
    if (inputs.length > MAX_NODE_VALUES || outputs.length > MAX_NODE_VALUES) {
      throw proto.fault('TooManyNodes', `the node at byte ${span.begin} has over ${MAX_NODE_VALUES} inputs or outputs`);
    }
    return undefined;
  });
  return { node: { name, opType, inputs, outputs, attributes }, graphs };
}

async function readAttribute(
  proto: ProtobufFile,
  span: Field,
  attributes: Map<string, readonly number[]>,
  graphs: Span[],
  onTensor: (tensor: Field) => Promise<void>,
): Promise<void> {
  if (span.type !== BYTES) throw proto.fault('InvalidProtobuf', `the attribute at byte ${span.begin} is no message`);
  let name = '';
  const numbers: number[] = [];
  await proto.message(span, (field) => {
    const { number, type, begin } = field;
    if (number === 1) name = proto.text(field, 'the name of an attribute');
    if ((number === 5 || number === 10) && type === BYTES) return onTensor(field);
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
  if (numbers.length > 0) attributes.set(name, numbers);
}
