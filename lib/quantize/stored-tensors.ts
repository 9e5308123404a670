import type { NewTensorInfo, QuantizedForm, TensorChange } from '../checkpoint/checkpoint.js';
import { fromFloat32 } from '../tensor/convert.js';
import { type BlockFormat, sizesOf } from './block-format.js';
import type { Coded, Smoothing } from './coded.js';
import type { QuantizedFactors } from './corrected.js';
import type { QuantizedMatrix } from './matrix.js';
import type { QuantizedBlocks, QuantizedChannels } from './quantize-matrix.js';

/** The names of the tensors that take a matrix' place. */
function namesFor(name: string) {
  return {
    codes: `${name}.codes`,
    scales: `${name}.scales`,
    zeros: `${name}.zeros`,
    smoothing: `${name}.smoothing`,
    left: `${name}.correction.left`,
    right: `${name}.correction.right`,
    components: `${name}.correction.scales`,
  };
}

/**
 * The change of a matrix' tensor.
 *
 * @param accuracyLevel of MatMulNBits, 0 to 4
 */
export function codedChange(matrix: QuantizedMatrix, coded: Coded, accuracyLevel?: number): TensorChange {
  const { info, m, n, use } = matrix;
  const names = namesFor(info.name);
  const common = { codes: names.codes, scales: names.scales, inputs: n, outputs: m };
  switch (coded.kind) {
    case 'channels': {
      const by: NewTensorInfo[] = [
        { name: names.codes, dtype: 'I8', shape: [n, m] },
        { name: names.scales, dtype: 'F16', shape: [m] },
      ];
      const form = { ...common, kind: 'channels', bits: 8, block: n, halfScales: true } as const;
      if (coded.smoothing === undefined) return { by, form };
      const { info: owner } = coded.smoothing.owner;
      const { smoothing } = namesFor(owner.name);
      if (owner.name === info.name) by.push({ name: smoothing, dtype: 'F16', shape: [n] });
      return { by, form: { ...form, smoothing } };
    }
    case 'blocks': {
      const { format, rank } = coded;
      const { bits, block, symmetric, scales } = format;
      const form: QuantizedForm = {
        ...common,
        ...{ kind: use === 'lookup' ? 'rows' : 'blocks', bits, block, halfScales: scales === 'F16' },
        ...(symmetric ? {} : { zeros: names.zeros }),
        ...(rank > 0 ? { correction: { rank, left: names.left, right: names.right, scales: names.components } } : {}),
        ...(accuracyLevel === undefined ? {} : { accuracyLevel }),
      };
      return { by: [...blockTensors(matrix, format), ...(rank > 0 ? correctionTensors(matrix, rank) : [])], form };
    }
  }
}

/** MatMulNBits has one dimension for the scales of all rows, GatherBlockQuantized two. */
function blockTensors({ info, m, n, use }: QuantizedMatrix, format: BlockFormat): NewTensorInfo[] {
  const names = namesFor(info.name);
  const rows = use === 'lookup';
  const { blocks, codes, zeros } = sizesOf(format, m, n, !rows);
  const all: NewTensorInfo[] = [
    { name: names.codes, dtype: 'U8', shape: rows ? [m, codes / m] : [m, blocks, codes / m / blocks] },
    { name: names.scales, dtype: format.scales, shape: rows ? [m, blocks] : [m * blocks] },
  ];
  return zeros === 0 ? all : [...all, { name: names.zeros, dtype: 'U8', shape: rows ? [m, zeros / m] : [zeros] }];
}

function correctionTensors({ info, m, n }: QuantizedMatrix, rank: number): NewTensorInfo[] {
  const names = namesFor(info.name);
  return [
    { name: names.left, dtype: 'I8', shape: [n, rank] },
    { name: names.right, dtype: 'I8', shape: [rank, m] },
    { name: names.components, dtype: 'F32', shape: [rank] },
  ];
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Int8Array) => new Uint8Array(buffer, byteOffset, byteLength);

/** The bytes of a matrix in blocks, by tensor. */
export function blockBytes(
  matrix: QuantizedMatrix,
  { format, codes, scales, zeros }: QuantizedBlocks,
  factors: QuantizedFactors | undefined,
): Map<string, Uint8Array> {
  const names = namesFor(matrix.info.name);
  const all = new Map([
    [names.codes, matrix.use === 'lookup' ? unpadded(matrix, format, codes) : codes],
    [names.scales, fromFloat32(scales, format.scales)],
  ]);
  if (zeros !== undefined) all.set(names.zeros, zeros);
  if (factors !== undefined) {
    all.set(names.left, bytesOf(factors.left));
    all.set(names.right, bytesOf(factors.right));
    all.set(names.components, fromFloat32(factors.scales, 'F32'));
  }
  return all;
}

/** Codes without those that fill the last block of a row: GatherBlockQuantized has none. */
function unpadded({ m, n }: QuantizedMatrix, { bits }: BlockFormat, codes: Uint8Array): Uint8Array {
  const [stride, row] = [codes.length / m, (n * bits) / 8];
  if (stride === row) return codes;
  const all = new Uint8Array(m * row);
  for (let i = 0; i < m; i++) all.set(codes.subarray(i * stride, i * stride + row), i * row);
  return all;
}

/** The bytes of a matrix as int8, by tensor. */
export function channelBytes(
  { info }: QuantizedMatrix,
  { codes, scales }: QuantizedChannels,
  smoothing: Smoothing | undefined,
): Map<string, Uint8Array> {
  const names = namesFor(info.name);
  const all = new Map([
    [names.codes, bytesOf(codes)],
    [names.scales, fromFloat32(scales, 'F16')],
  ]);
  if (smoothing?.owner.info.name === info.name) {
    all.set(
      names.smoothing,
      fromFloat32(
        smoothing.scales.map((scale) => 1 / scale),
        'F16',
      ),
    );
  }
  return all;
}
