/**
 * The first byte of ModelProto's possible second fields: its tag. Numbers from 20 on take two
 * bytes, of which this is the first.
 */
const SECOND_FIELDS = new Set([0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72, 0xa2, 0xca, 0xd2]);
const PRODUCER_NAME = 0x12;
/** IR versions are counted from 1, one or two a year. */
const MAX_IR_VERSION = 0x7f;

/**
 * Whether a file with this start can be an ONNX model: a protobuf message with `ir_version` as its
 * first field, followed by another field of a model. Messages of other programs start alike
 * (TensorFlow's SavedModel, Core ML), but have no text in place of `producer_name`.
 */
export function mayBeOnnx(start: Uint8Array): boolean {
  const [tag, version, second, length] = start;
  if (tag !== 0x08 || version === undefined || version === 0 || version > MAX_IR_VERSION) return false;
  if (second === undefined) return true;
  if (!SECOND_FIELDS.has(second)) return false;
  if (second !== PRODUCER_NAME || length === undefined) return true;
  // Names are shorter than 128 bytes, so their length takes one.
  return length < 0x80 && start.subarray(4, 4 + length).every((byte) => byte >= 0x20 && byte !== 0x7f);
}
