/**
 * The encoding of a field's value: a varint (integers and enums), 4 or 8 bytes (floats), bytes with
 * their length (`bytes` and `string`), or a message. A plural is a repeated field of numbers, which
 * may be separate or packed.
 */
type FieldKind = 'varint' | 'varints' | 'fixed32' | 'fixed32s' | 'fixed64' | 'fixed64s' | 'bytes' | MessageName;

type MessageName = keyof typeof MESSAGES;

/** A field of a message. */
export interface FieldType {
  readonly name: string;
  readonly kind: FieldKind;
}

/**
 * Every message of ONNX: its fields by number, with name and kind. Source: onnx-ml.proto of ONNX
 * 1.23.
 */
const MESSAGES = {
  AttributeProto: {
    1: ['name', 'bytes'],
    2: ['f', 'fixed32'],
    3: ['i', 'varint'],
    4: ['s', 'bytes'],
    5: ['t', 'TensorProto'],
    6: ['g', 'GraphProto'],
    7: ['floats', 'fixed32s'],
    8: ['ints', 'varints'],
    9: ['strings', 'bytes'],
    10: ['tensors', 'TensorProto'],
    11: ['graphs', 'GraphProto'],
    13: ['doc_string', 'bytes'],
    14: ['tp', 'TypeProto'],
    15: ['type_protos', 'TypeProto'],
    20: ['type', 'varint'],
    21: ['ref_attr_name', 'bytes'],
    22: ['sparse_tensor', 'SparseTensorProto'],
    23: ['sparse_tensors', 'SparseTensorProto'],
  },
  ValueInfoProto: {
    1: ['name', 'bytes'],
    2: ['type', 'TypeProto'],
    3: ['doc_string', 'bytes'],
    4: ['metadata_props', 'StringStringEntryProto'],
  },
  NodeProto: {
    1: ['input', 'bytes'],
    2: ['output', 'bytes'],
    3: ['name', 'bytes'],
    4: ['op_type', 'bytes'],
    5: ['attribute', 'AttributeProto'],
    6: ['doc_string', 'bytes'],
    7: ['domain', 'bytes'],
    8: ['overload', 'bytes'],
    9: ['metadata_props', 'StringStringEntryProto'],
    10: ['device_configurations', 'NodeDeviceConfigurationProto'],
  },
  IntIntListEntryProto: {
    1: ['key', 'varint'],
    2: ['value', 'varints'],
  },
  NodeDeviceConfigurationProto: {
    1: ['configuration_id', 'bytes'],
    2: ['sharding_spec', 'ShardingSpecProto'],
    3: ['pipeline_stage', 'varint'],
  },
  ShardingSpecProto: {
    1: ['tensor_name', 'bytes'],
    2: ['device', 'varints'],
    3: ['index_to_device_group_map', 'IntIntListEntryProto'],
    4: ['sharded_dim', 'ShardedDimProto'],
  },
  ShardedDimProto: {
    1: ['axis', 'varint'],
    2: ['simple_sharding', 'SimpleShardedDimProto'],
  },
  SimpleShardedDimProto: {
    1: ['dim_value', 'varint'],
    2: ['dim_param', 'bytes'],
    3: ['num_shards', 'varint'],
  },
  TrainingInfoProto: {
    1: ['initialization', 'GraphProto'],
    2: ['algorithm', 'GraphProto'],
    3: ['initialization_binding', 'StringStringEntryProto'],
    4: ['update_binding', 'StringStringEntryProto'],
  },
  ModelProto: {
    1: ['ir_version', 'varint'],
    2: ['producer_name', 'bytes'],
    3: ['producer_version', 'bytes'],
    4: ['domain', 'bytes'],
    5: ['model_version', 'varint'],
    6: ['doc_string', 'bytes'],
    7: ['graph', 'GraphProto'],
    8: ['opset_import', 'OperatorSetIdProto'],
    14: ['metadata_props', 'StringStringEntryProto'],
    20: ['training_info', 'TrainingInfoProto'],
    25: ['functions', 'FunctionProto'],
    26: ['configuration', 'DeviceConfigurationProto'],
  },
  DeviceConfigurationProto: {
    1: ['name', 'bytes'],
    2: ['num_devices', 'varint'],
    3: ['device', 'bytes'],
  },
  StringStringEntryProto: {
    1: ['key', 'bytes'],
    2: ['value', 'bytes'],
  },
  TensorAnnotation: {
    1: ['tensor_name', 'bytes'],
    2: ['quant_parameter_tensor_names', 'StringStringEntryProto'],
  },
  GraphProto: {
    1: ['node', 'NodeProto'],
    2: ['name', 'bytes'],
    5: ['initializer', 'TensorProto'],
    10: ['doc_string', 'bytes'],
    11: ['input', 'ValueInfoProto'],
    12: ['output', 'ValueInfoProto'],
    13: ['value_info', 'ValueInfoProto'],
    14: ['quantization_annotation', 'TensorAnnotation'],
    15: ['sparse_initializer', 'SparseTensorProto'],
    16: ['metadata_props', 'StringStringEntryProto'],
  },
  TensorProto: {
    1: ['dims', 'varints'],
    2: ['data_type', 'varint'],
    3: ['segment', 'TensorProto.Segment'],
    4: ['float_data', 'fixed32s'],
    5: ['int32_data', 'varints'],
    6: ['string_data', 'bytes'],
    7: ['int64_data', 'varints'],
    8: ['name', 'bytes'],
    9: ['raw_data', 'bytes'],
    10: ['double_data', 'fixed64s'],
    11: ['uint64_data', 'varints'],
    12: ['doc_string', 'bytes'],
    13: ['external_data', 'StringStringEntryProto'],
    14: ['data_location', 'varint'],
    16: ['metadata_props', 'StringStringEntryProto'],
  },
  'TensorProto.Segment': {
    1: ['begin', 'varint'],
    2: ['end', 'varint'],
  },
  SparseTensorProto: {
    1: ['values', 'TensorProto'],
    2: ['indices', 'TensorProto'],
    3: ['dims', 'varints'],
  },
  TensorShapeProto: {
    1: ['dim', 'TensorShapeProto.Dimension'],
  },
  'TensorShapeProto.Dimension': {
    1: ['dim_value', 'varint'],
    2: ['dim_param', 'bytes'],
    3: ['denotation', 'bytes'],
  },
  TypeProto: {
    1: ['tensor_type', 'TypeProto.Tensor'],
    4: ['sequence_type', 'TypeProto.Sequence'],
    5: ['map_type', 'TypeProto.Map'],
    6: ['denotation', 'bytes'],
    7: ['opaque_type', 'TypeProto.Opaque'],
    8: ['sparse_tensor_type', 'TypeProto.SparseTensor'],
    9: ['optional_type', 'TypeProto.Optional'],
  },
  'TypeProto.Tensor': {
    1: ['elem_type', 'varint'],
    2: ['shape', 'TensorShapeProto'],
  },
  'TypeProto.Sequence': {
    1: ['elem_type', 'TypeProto'],
  },
  'TypeProto.Map': {
    1: ['key_type', 'varint'],
    2: ['value_type', 'TypeProto'],
  },
  'TypeProto.Optional': {
    1: ['elem_type', 'TypeProto'],
  },
  'TypeProto.SparseTensor': {
    1: ['elem_type', 'varint'],
    2: ['shape', 'TensorShapeProto'],
  },
  'TypeProto.Opaque': {
    1: ['domain', 'bytes'],
    2: ['name', 'bytes'],
  },
  OperatorSetIdProto: {
    1: ['domain', 'bytes'],
    2: ['version', 'varint'],
  },
  FunctionProto: {
    1: ['name', 'bytes'],
    4: ['input', 'bytes'],
    5: ['output', 'bytes'],
    6: ['attribute', 'bytes'],
    7: ['node', 'NodeProto'],
    8: ['doc_string', 'bytes'],
    9: ['opset_import', 'OperatorSetIdProto'],
    10: ['domain', 'bytes'],
    11: ['attribute_proto', 'AttributeProto'],
    12: ['value_info', 'ValueInfoProto'],
    13: ['overload', 'bytes'],
    14: ['metadata_props', 'StringStringEntryProto'],
  },
} as const;

/** A message in the form that a parser looks up. */
export interface MessageType {
  readonly name: MessageName;
  /** By number; there are gaps. */
  readonly fields: readonly (FieldType | undefined)[];
}

const TABLE: Readonly<Record<MessageName, Readonly<Record<number, readonly [name: string, kind: FieldKind]>>>> =
  MESSAGES;

/** Every message of ONNX by its name. */
export const MESSAGE_TYPES: ReadonlyMap<string, MessageType> = new Map(
  (Object.keys(MESSAGES) as MessageName[]).map((name) => {
    const fields: (FieldType | undefined)[] = [];
    for (const [number, [field, kind]] of Object.entries(TABLE[name])) fields[Number(number)] = { name: field, kind };
    return [name, { name, fields }];
  }),
);
