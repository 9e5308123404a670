import { describe } from '../../errors.js';
import { MAX_GRAPH_NODES, MAX_OPERATOR_SETS } from '../../files/limits.js';
import { isOwnDomain, readNode } from './node.js';
import { BYTES, type Field, type ProtobufFile, type Span, VARINT } from './protobuf.js';
import type { Scope } from './scope.js';
import type { Constant } from './tensor-proto.js';
import { type Sources, Usages } from './usage.js';
import { type GraphEnd, Wiring } from './wiring.js';

/** The fields of a model that are read before its graph. */
export interface ModelHead {
  readonly graph: Field;
  /** The version of the format. */
  readonly irVersion: number;
  /** The version of ONNX's own operators. */
  readonly opset: number;
  /** The domains of all operators that the model imports. */
  readonly domains: ReadonlySet<string>;
}

/** Reads where the graph lies, and the versions that it is written in. */
export async function readHead(proto: ProtobufFile): Promise<ModelHead> {
  let graph: Field | undefined;
  let irVersion: number | undefined;
  let opset = 1;
  let imports = 0;
  const domains = new Set<string>();
  await proto.message({ begin: 0, end: proto.size }, (field) => {
    if (field.number === 1 && field.type === VARINT) irVersion = field.value;
    if (field.number === 8 && field.type === BYTES) {
      if (++imports > MAX_OPERATOR_SETS) {
        throw proto.fault('TooManyFields', `imports more than ${MAX_OPERATOR_SETS} sets of operators`);
      }
      return readOpset(proto, field).then(({ domain, version }) => {
        domains.add(domain);
        if (isOwnDomain(domain)) opset = version ?? opset;
      });
    }
    if (field.number !== 7) return undefined;
    if (field.type !== BYTES) throw proto.fault('InvalidProtobuf', 'has a graph that is not a message');
    if (graph !== undefined) throw proto.fault('InvalidProtobuf', 'has two graphs');
    graph = field;
    return undefined;
  });
  if (graph !== undefined && irVersion !== undefined) return { graph, irVersion, opset, domains };
  throw proto.fault('NotOnnx', `is a protobuf file without ${graph === undefined ? 'a graph' : 'an ir_version'}`, {
    hint: 'TensorFlow and Core ML write such files too. Convert the model to ONNX, or use its safetensors files.',
  });
}

async function readOpset(proto: ProtobufFile, field: Field) {
  let domain = '';
  let version: number | undefined;
  await proto.message(field, (part) => {
    if (part.number === 1 && part.type === BYTES) domain = proto.text(part, 'the domain of operators');
    if (part.number === 2 && part.type === VARINT) version = part.value;
    return undefined;
  });
  return { domain, version };
}

/** The tensors of a graph, and their use by its nodes. */
export interface Graph {
  /**
   * By name: the initialisers of the graph, then those of graphs inside it and the matrices of
   * `Constant` nodes.
   */
  readonly tensors: ReadonlyMap<string, Constant>;
  readonly usages: Usages;
  readonly wiring: Wiring;
}

/** A tensor with its name in its own graph. */
interface NamedConstant {
  readonly name: string;
  /**
   * For each graph around it but the model's own: the node that contains it, by its first output,
   * and the attribute.
   */
  readonly path: readonly string[];
  readonly tensor: Constant;
}

/**
 * Reads a graph and the graphs inside it, whose structure has been checked.
 *
 * @param constants the initialisers and constant matrices of the file, by their first byte
 * @throws {@link CheckpointError} kinds `DuplicateTensor`, `InvalidTensor`, `TooManyNodes`, and
 *   those of {@link ProtobufFile}.
 */
export async function readGraph(
  proto: ProtobufFile,
  graph: Field,
  constants: ReadonlyMap<number, Constant>,
): Promise<Graph> {
  const found: NamedConstant[] = [];
  const usages = new Usages();
  const wiring = new Wiring();
  let nodes = 0;
  const onNode = async (field: Field, scope: Scope) => {
    if (++nodes > MAX_GRAPH_NODES) throw proto.fault('TooManyNodes', `has more than ${MAX_GRAPH_NODES} nodes`);
    const read = await readNode(proto, field);
    const { node, graphs, value } = read;
    const bodies: Scope[] = [];
    const placed = wiring.node(read, field, scope, bodies);
    const [output] = node.outputs;
    const tensor = value && constants.get(value.begin);
    if (tensor !== undefined && output && node.opType === 'Constant') {
      found.push({ name: output, path: scope.path, tensor });
      usages.define(output, tensor);
    }
    usages.visit(node);
    const results: Sources[][] = [];
    for (const { attribute, within } of graphs) {
      const path = [...scope.path, output ?? node.opType, attribute];
      const around = { outer: scope, node: placed, within: [...scope.within, field, ...within], path };
      const body = await walk(within[1], around);
      bodies.push(body.scope);
      results.push(body.sources);
    }
    if (node.opType === 'If') usages.join(node, results);
  };
  /** @returns the sources of the graph's outputs */
  const walk = async (span: Span, around: Omit<Scope, 'outputs'>): Promise<{ scope: Scope; sources: Sources[] }> => {
    const { initializers, outputs, ends } = await readEnds(proto, span, constants);
    const scope = wiring.enter(ends, around);
    usages.enter(initializers);
    for (const [name, tensor] of initializers) found.push({ name, path: scope.path, tensor });
    await proto.message(span, (field) => (field.number === 1 ? onNode(field, scope) : undefined));
    return { scope, sources: usages.leave(outputs) };
  };
  await walk(graph, { outer: undefined, node: undefined, within: [graph], path: [] });
  return { tensors: byUniqueName(proto, found), usages, wiring };
}

/**
 * Makes names unique: if two branches use the same name for their tensors, the path to each goes
 * before it.
 */
function byUniqueName(proto: ProtobufFile, found: readonly NamedConstant[]): Map<string, Constant> {
  const count = new Map<string, number>();
  for (const { name } of found) count.set(name, (count.get(name) ?? 0) + 1);
  const tensors = new Map<string, Constant>();
  for (const { name, path, tensor } of found) {
    const unique = count.get(name) === 1 ? name : [...path, name].join('.');
    if (tensors.has(unique)) throw proto.fault('DuplicateTensor', `has two tensors named ${describe(unique)}`);
    tensors.set(unique, tensor);
  }
  return tensors;
}

/**
 * Reads the start and end of a graph: its constant tensors by name, without those of graphs inside
 * it, and its outputs.
 */
async function readEnds(proto: ProtobufFile, graph: Span, constants: ReadonlyMap<number, Constant>) {
  const initializers = new Map<string, Constant>();
  const outputs: string[] = [];
  const ends: GraphEnd[] = [];
  await proto.message(graph, (field) => {
    if ((field.number === 11 || field.number === 12) && field.type === BYTES) {
      let name = '';
      return proto
        .message(field, (part) => {
          if (part.number === 1) name = proto.text(part, 'the name of an output');
          return undefined;
        })
        .then(() => {
          if (field.number === 12) outputs.push(name);
          ends.push({ kind: field.number === 12 ? 'output' : 'input', name, start: field.start, end: field.end });
        });
    }
    if (field.number !== 5) return undefined;
    const tensor = constants.get(field.begin);
    if (tensor === undefined) throw proto.fault('InvalidProtobuf', 'has an initializer that is not a message');
    const { name } = tensor;
    if (name === '') throw proto.fault('InvalidTensor', `the initializer at byte ${field.begin} has no name`);
    if (initializers.has(name)) throw proto.fault('DuplicateTensor', `has two initializers named ${describe(name)}`);
    initializers.set(name, tensor);
    ends.push({ kind: 'initializer', name, start: field.start, end: field.end });
    return undefined;
  });
  return { initializers, outputs, ends };
}
