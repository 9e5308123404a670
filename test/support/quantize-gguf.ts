import { readFile, writeFile } from 'node:fs/promises';
import { parseGgufHeader } from '../../lib/checkpoint/gguf/header.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';

/** ggml's number of Q4_0. */
const Q4_0 = 2;

/**
 * Writes a copy of a GGUF file of floats in which the matrices of layers are Q4_0, for tests of
 * corrections: a simple rounding to nearest, whose result any program decodes.
 *
 * @param isQuantised by the tensors' names
 */
export async function quantizeGguf(from: string, to: string, isQuantised: (name: string) => boolean): Promise<void> {
  const source = await readFile(from);
  const header = parseGgufHeader(source, source.length, from);
  const head = Buffer.from(header.bytes);
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const tensor of header.tensors) {
    const own = source.subarray(tensor.offset, tensor.offset + tensor.bytes);
    const chosen = tensor.shape.length === 2 && isQuantised(tensor.name);
    const bytes = chosen ? toQ4(toFloat32(own, tensor.type)) : own;
    if (chosen) head.writeUInt32LE(Q4_0, tensor.typeAt);
    head.writeBigUInt64LE(BigInt(offset), tensor.typeAt + 4);
    const padded = Math.ceil(bytes.length / header.alignment) * header.alignment;
    data.push(bytes, new Uint8Array(padded - bytes.length));
    offset += padded;
  }
  await writeFile(to, Buffer.concat([head, new Uint8Array(header.dataStart - head.length), ...data]));
}

/** Q4_0: blocks of 32 with a half as scale, whole numbers from -8 to 7. */
function toQ4(numbers: Float32Array): Uint8Array {
  const out = new Uint8Array((numbers.length / 32) * 18);
  for (let block = 0; block * 32 < numbers.length; block++) {
    const own = numbers.subarray(block * 32, block * 32 + 32);
    const extreme = own.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    const half = fromFloat32(Float32Array.of(extreme / -8), 'F16');
    const [scale] = toFloat32(half, 'F16');
    out.set(half, block * 18);
    const code = (value: number) => (scale === 0 ? 8 : Math.min(15, Math.max(0, Math.round(value / scale!) + 8)));
    for (let i = 0; i < 16; i++) out[block * 18 + 2 + i] = code(own[i]!) | (code(own[16 + i]!) << 4);
  }
  return out;
}
