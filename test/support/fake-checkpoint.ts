import type { Checkpoint, TensorInfo } from '../../lib/checkpoint/checkpoint.js';
import { DTYPE_BITS, type DType } from '../../lib/tensor/dtype.js';

/** What is known of a checkpoint without reading it: names, shapes, dtypes and config.json. */
export function fakeCheckpoint(
  shapes: Readonly<Record<string, readonly number[]>>,
  config?: Record<string, unknown>,
  dtypes: Readonly<Record<string, DType>> = {},
): Checkpoint {
  const tensors = new Map<string, TensorInfo>();
  let offset = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const dtype = dtypes[name] ?? 'F32';
    const bytes = (shape.reduce((product, d) => product * d, 1) * DTYPE_BITS[dtype]) / 8;
    tensors.set(name, { name, dtype, shape, bytes, file: 'model.safetensors', offset });
    offset += bytes;
  }
  const absent = () => Promise.reject(new Error('a fake checkpoint holds no bytes'));
  return {
    format: 'safetensors',
    path: '/models/fake',
    main: '/models/fake',
    tensors,
    config,
    read: absent,
    layout: () => [],
    close: async () => undefined,
  };
}

/** The tensors of `layers` equal layers: names with `#` for the layer's number. */
export function repeated(
  layers: number,
  shapes: Readonly<Record<string, readonly number[]>>,
): Record<string, readonly number[]> {
  const numbers = Array.from({ length: layers }, (_, layer) => layer);
  return Object.fromEntries(
    numbers.flatMap((layer) =>
      Object.entries(shapes).map(([name, shape]) => [name.replace('#', String(layer)), shape]),
    ),
  );
}
