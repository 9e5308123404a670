import { MAX_GRAPH_DEPTH, MAX_MESSAGE_DEPTH } from '../../files/limits.js';
import { BYTES, type Field, type ProtobufFile } from './protobuf.js';
import { type FieldType, MESSAGE_TYPES, type MessageType } from './schema.js';

/** A message that is being walked. */
interface Frame {
  readonly type: MessageType;
  readonly field: Field;
}

/**
 * Walks every message of a model, even those that nothing here reads, as a protobuf parser does: a
 * model that `onnx.load` cannot parse must not open here. As there, a field that is unknown, or of
 * another wire type than in the schema, is skipped. Groups, which ONNX does not use, are refused.
 *
 * @param onTensor called with each TensorProto of the model, once everything inside it has been
 *   checked, with the names of the fields that lead to it, and with these fields
 * @throws CheckpointError kinds `InvalidProtobuf`, `Truncated`, `InvalidDataLength` (a packed list
 *   of another length), `GraphTooDeep`, `MessageTooDeep`, `TooManyFields`, and whatever `onTensor`
 *   throws.
 */
export async function checkStructure(
  proto: ProtobufFile,
  onTensor: (tensor: Field, path: readonly string[], within: readonly Field[]) => Promise<void>,
): Promise<void> {
  const outer: Frame[] = [];
  let graphs = 0;
  const whole: Field = { start: 0, number: 0, type: BYTES, value: 0, begin: 0, end: proto.size };
  let frame: Frame = { type: MESSAGE_TYPES.get('ModelProto')!, field: whole };
  for (let at = 0; ; ) {
    at = proto.passNumbers(at, frame.field.end);
    if (at === frame.field.end) {
      if (frame.type.name === 'TensorProto') {
        const within = [...outer.slice(1), frame].map(({ field }) => field);
        await onTensor(frame.field, proto.path, within);
      }
      if (frame.type.name === 'GraphProto') graphs--;
      const parent = outer.pop();
      if (parent === undefined) return;
      proto.path.pop();
      frame = parent;
      continue;
    }
    const next = proto.fieldAt(at, frame.field.end);
    const field = next instanceof Promise ? await next : next;
    at = field.end;
    const known = frame.type.fields[field.number];
    if (known === undefined || field.type !== BYTES) continue;
    const type = MESSAGE_TYPES.get(known.kind);
    if (type === undefined) {
      const checking = checkPacked(proto, field, known);
      if (checking !== undefined) await checking;
      continue;
    }
    // The first one inside the model's graph has depth 1.
    if (type.name === 'GraphProto' && graphs++ > MAX_GRAPH_DEPTH) {
      throw proto.fault('GraphTooDeep', `has more than ${MAX_GRAPH_DEPTH} nested graphs`);
    }
    if (outer.push(frame) > MAX_MESSAGE_DEPTH) {
      throw proto.fault('MessageTooDeep', `has more than ${MAX_MESSAGE_DEPTH} nested messages`);
    }
    proto.path.push(known.name);
    frame = { type, field };
    at = field.begin;
  }
}

/** Checks that numbers of a packed list fill it. */
function checkPacked(proto: ProtobufFile, { begin, end }: Field, { name, kind }: FieldType): Promise<void> | undefined {
  if (kind === 'varints') return proto.checkVarints({ begin, end });
  const item = kind === 'fixed32s' ? 4 : kind === 'fixed64s' ? 8 : 1;
  if ((end - begin) % item === 0) return undefined;
  const message = `${name} at byte ${begin} has ${end - begin} bytes, which is not a whole number of ${item}-byte items`;
  throw proto.fault('InvalidDataLength', message);
}
