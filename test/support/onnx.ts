/**
 * A small writer of protobuf and of ONNX, right or wrong: the tests say what stands in each field.
 */

const FIELDS_OF_RAW = 9;

/** An integer in 7 bits a byte; negative ones as 64 bits, as protobuf has them. */
export function varint(value: number | bigint): Buffer {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return Buffer.from(bytes);
}

/** A field: a number as a varint, a text or bytes with their length. */
export function field(number: number, value: number | bigint | string | Uint8Array): Buffer {
  if (typeof value === 'number' || typeof value === 'bigint') {
    return Buffer.concat([varint(number * 8), varint(value)]);
  }
  const bytes = Buffer.from(value as string);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

export interface TensorParts {
  readonly name: string;
  readonly dims: readonly (number | bigint)[];
  /** `TensorProto.DataType`: 1 is float32. */
  readonly type?: number;
  readonly raw?: Uint8Array;
  readonly external?: Readonly<Record<string, string>>;
  /** More fields, as bytes. */
  readonly more?: Uint8Array;
}

/** A TensorProto. */
export function tensorProto({ name, dims, type = 1, raw, external, more }: TensorParts): Buffer {
  return Buffer.concat([
    ...dims.map((dimension) => field(1, dimension)),
    field(2, type),
    field(8, name),
    ...(raw === undefined ? [] : [field(FIELDS_OF_RAW, raw)]),
    ...Object.entries(external ?? {}).map(([key, value]) => field(13, Buffer.concat([field(1, key), field(2, value)]))),
    ...(external === undefined ? [] : [field(14, 1)]),
    more ?? Buffer.alloc(0),
  ]);
}

/** Numbers as little-endian float32. */
export function floats(...numbers: readonly number[]): Buffer {
  return Buffer.from(Float32Array.from(numbers).buffer);
}

/** A float32 initialiser [m, n] of 0, 1, 2 and so on. */
export function counted(name: string, m: number, n: number): Buffer {
  return tensorProto({ name, dims: [m, n], raw: floats(...Array.from({ length: m * n }, (_, i) => i)) });
}

export interface NodeParts {
  readonly op: string;
  readonly name?: string;
  readonly inputs: readonly string[];
  readonly outputs?: readonly string[];
  readonly ints?: Readonly<Record<string, number | readonly number[]>>;
  readonly floats?: Readonly<Record<string, number>>;
  /** The domain of the operator, if it is not ONNX's own. */
  readonly domain?: string;
  /** GraphProtos. */
  readonly graphs?: readonly Uint8Array[];
  /** TensorProtos. */
  readonly tensors?: readonly Uint8Array[];
  /** The TensorProto of a Constant. */
  readonly value?: Uint8Array;
}

/** A NodeProto. */
export function nodeProto({
  op,
  name,
  inputs,
  outputs = ['y'],
  ints = {},
  floats: reals = {},
  domain,
  graphs = [],
  tensors = [],
  value,
}: NodeParts): Buffer {
  const attribute = (...parts: Uint8Array[]) => field(5, Buffer.concat(parts));
  return Buffer.concat([
    ...inputs.map((input) => field(1, input)),
    ...outputs.map((output) => field(2, output)),
    ...(name === undefined ? [] : [field(3, name)]),
    field(4, op),
    ...Object.entries(ints).map(([key, value]) =>
      typeof value === 'number'
        ? attribute(field(1, key), field(3, value), field(20, 2))
        : attribute(field(1, key), ...value.map((item) => field(8, item)), field(20, 7)),
    ),
    ...Object.entries(reals).map(([key, number]) =>
      attribute(field(1, key), Buffer.concat([varint(2 * 8 + 5), floats(number)]), field(20, 1)),
    ),
    ...(domain === undefined ? [] : [field(7, domain)]),
    ...(value === undefined ? [] : [attribute(field(1, 'value'), field(5, value), field(20, 4))]),
    ...tensors.map((tensor, index) => attribute(field(1, `value_${index}`), field(5, tensor), field(20, 4))),
    ...graphs.map((graph, index) => attribute(field(1, `branch_${index}`), field(6, graph), field(20, 5))),
  ]);
}

/** An input or output of a graph: names stand for dimensions that may be any. */
export interface ValueParts {
  readonly name: string;
  /** `TensorProto.DataType`: 1 is float32, 7 is int64. */
  readonly type: number;
  readonly dims: readonly (number | string)[];
}

function valueInfoProto({ name, type, dims }: ValueParts): Buffer {
  const shape = dims.map((dim) => field(1, typeof dim === 'number' ? field(1, dim) : field(2, dim)));
  const tensor = Buffer.concat([field(1, type), field(2, Buffer.concat(shape))]);
  return Buffer.concat([field(1, name), field(2, field(1, tensor))]);
}

/** A GraphProto; a runtime needs its inputs and outputs. */
export function graphProto(
  nodes: readonly Uint8Array[],
  initializers: readonly Uint8Array[],
  inputs: readonly ValueParts[] = [],
  outputs: readonly ValueParts[] = [],
): Buffer {
  return Buffer.concat([
    ...nodes.map((node) => field(1, node)),
    field(2, 'graph'),
    ...initializers.map((initializer) => field(5, initializer)),
    ...inputs.map((input) => field(11, valueInfoProto(input))),
    ...outputs.map((output) => field(12, valueInfoProto(output))),
  ]);
}

/** A ModelProto around a graph, in versions of the format and of the operators. */
export function modelProto(graph: Uint8Array, { irVersion = 8, opset = 17 } = {}): Buffer {
  return Buffer.concat([
    field(1, irVersion),
    field(2, 'lowrank'),
    field(7, graph),
    field(8, Buffer.concat([field(1, ''), field(2, opset)])),
  ]);
}

/** A model of so many nodes, each of which adds a weight to the output of the one before. */
export function chainOfNodes(count: number): Buffer {
  const nodes = Array.from({ length: count }, (_, i) =>
    nodeProto({
      op: 'Add',
      name: `/m/layers.${i}/Add`,
      inputs: [`v${i}`, 'w'],
      outputs: [`v${i + 1}`],
      ints: { axis: 1 },
    }),
  );
  return modelProto(graphProto(nodes, [counted('w', 2, 2)]));
}
