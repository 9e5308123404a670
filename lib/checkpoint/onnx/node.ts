import { MAX_DIMENSIONS, MAX_NODE_VALUES } from '../../files/limits.js';
import { BYTES, FIXED32, type Field, type ProtobufFile, type Span } from './protobuf.js';

/** The fields of a NodeProto that are read. */
export interface GraphNode {
  readonly name: string;
  readonly opType: string;
  /** Empty for ONNX's own operators. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Integer attributes, and lists of a few integers. */
  readonly attributes: ReadonlyMap<string, readonly number[]>;
  /** Attributes of one floating-point number. */
  readonly floats: ReadonlyMap<string, number>;
}

/** A graph inside a node. */
interface InnerGraph {
  readonly attribute: string;
  /** The attribute and the graph, as they lie in the file. */
  readonly within: readonly [attribute: Field, graph: Field];
}

/** A field of a node: where it lies, with its tag, and the name of the attribute that it is. */
export interface NodeField {
  readonly number: number;
  readonly start: number;
  readonly end: number;
  readonly attribute: string | undefined;
}

/** A node, and the parts of it that are read separately. */
export interface NodeRead {
  readonly node: GraphNode;
  /** In the order of the file. */
  readonly fields: readonly NodeField[];
  readonly graphs: readonly InnerGraph[];
  /** The tensor of its attribute `value`, which a Constant has. */
  readonly value: Span | undefined;
}

/** Whether operators of this domain are ONNX's own. */
export function isOwnDomain(domain: string): boolean {
  return domain === '' || domain === 'ai.onnx';
}

/**
 * Reads a NodeProto.
 *
 * @throws {@link CheckpointError} kind `TooManyNodes` for one with too many inputs or outputs, and
 *   those of {@link ProtobufFile}.
 */
export async function readNode(proto: ProtobufFile, span: Field): Promise<NodeRead> {
  if (span.type !== BYTES) throw proto.fault('InvalidProtobuf', `the node at byte ${span.begin} is not a message`);
  const [inputs, outputs, graphs]: [string[], string[], InnerGraph[]] = [[], [], []];
  const attributes = new Map<string, readonly number[]>();
  const floats = new Map<string, number>();
  let domain = '';
  let name = '';
  let opType = '';
  let value: Span | undefined;
  const fields: NodeField[] = [];
  await proto.message(span, (field) => {
    const { number, start, end } = field;
    const keep = (attribute?: string) => fields.push({ number, start, end, attribute });
    if (number !== 5) keep();
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
          keep(attribute.name);
          if (attribute.numbers.length > 0) attributes.set(attribute.name, attribute.numbers);
          if (attribute.float !== undefined) floats.set(attribute.name, attribute.float);
          for (const graph of attribute.graphs) graphs.push({ attribute: attribute.name, within: [field, graph] });
          if (attribute.name === 'value') value = attribute.tensor;
        });
      case 7:
        if (field.type !== BYTES) break;
        domain = proto.text(field, 'the domain of a node');
        if (isOwnDomain(domain)) domain = '';
        break;
    }
    if (inputs.length > MAX_NODE_VALUES || outputs.length > MAX_NODE_VALUES) {
      throw proto.fault('TooManyNodes', `the node at byte ${span.begin} has over ${MAX_NODE_VALUES} inputs or outputs`);
    }
    return undefined;
  });
  const node = { name, opType, domain, inputs, outputs, attributes, floats };
  return { node, fields, graphs, value };
}

async function readAttribute(proto: ProtobufFile, span: Field) {
  if (span.type !== BYTES) throw proto.fault('InvalidProtobuf', `the attribute at byte ${span.begin} is not a message`);
  let name = '';
  let tensor: Span | undefined;
  let float: number | undefined;
  const graphs: Field[] = [];
  const numbers: number[] = [];
  await proto.message(span, (field) => {
    const { number, type, begin } = field;
    if (number === 1) name = proto.text(field, 'the name of an attribute');
    if (number === 2 && type === FIXED32) float = proto.float(field);
    if (number === 5 && type === BYTES) tensor = field;
    if (number === 6 || number === 11) {
      if (type !== BYTES) throw proto.fault('InvalidProtobuf', `the graph at byte ${begin} is not a message`);
      graphs.push(field);
    }
    // Longer lists are data of other operators; those that matter here have a number for each
    // dimension.
    if ((number === 3 || number === 8) && numbers.length < MAX_DIMENSIONS) {
      numbers.push(...(proto.integers(field, 'an attribute') ?? []));
    }
    return undefined;
  });
  return { name, tensor, float, graphs, numbers };
}
