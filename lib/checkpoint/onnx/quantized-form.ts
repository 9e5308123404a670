import { describe, LowRankError } from '../../errors.js';
import type { NewTensorInfo, QuantizedForm, TensorInfo } from '../checkpoint.js';

/**
 * Checks that tensors make up a weight in the form that they are said to have.
 *
 * @param turned whether the nodes use the weight as [outputs, inputs]
 * @throws LowRankError `ERR_SHAPE`
 */
export function requireForm(
  info: TensorInfo,
  by: readonly NewTensorInfo[],
  form: QuantizedForm,
  turned: boolean,
): void {
  const { inputs, outputs } = form;
  const shape = turned ? [outputs, inputs] : [inputs, outputs];
  const names = new Set(by.map(({ name }) => name));
  // Weights with the same inputs share what smooths them, so it belongs to one.
  const own = expectedTensors(form).filter(({ name }) => name !== form.smoothing || names.has(name));
  const expected = new Map(own.map((tensor) => [tensor.name, tensor]));
  const fits =
    info.shape.join() === shape.join() &&
    by.length === expected.size &&
    by.every(({ name, dtype, shape: own }) => {
      const wanted = expected.get(name);
      return wanted !== undefined && wanted.dtype === dtype && wanted.shape.join() === own.join();
    });
  if (fits) return;
  const text = by.map((tensor) => `${tensor.dtype} ${describe(tensor.shape)}`).join(', ');
  throw new LowRankError(
    'ERR_SHAPE',
    `${info.name}: ${text} do not make up a weight of the shape ${describe(info.shape)}`,
  );
}

function expectedTensors(form: QuantizedForm): NewTensorInfo[] {
  const { kind, inputs, outputs, codes, scales, zeros, bits, block, halfScales, smoothing, correction } = form;
  const blocks = Math.ceil(inputs / block);
  const rows = kind === 'rows';
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const codeShape =
    kind === 'channels'
      ? [inputs, outputs]
      : rows
        ? [outputs, (inputs * bits) / 8]
        : [outputs, blocks, (block * bits) / 8];
  const scaleShape = kind === 'channels' ? [outputs] : rows ? [outputs, blocks] : [outputs * blocks];
  const rank = correction?.rank ?? 0;
  return [
    { name: codes, dtype: kind === 'channels' ? 'I8' : 'U8', shape: codeShape },
    { name: scales, dtype: halfScales ? 'F16' : 'F32', shape: scaleShape },
    ...(smoothing === undefined
      ? []
      : [{ name: smoothing, dtype: halfScales ? 'F16' : 'F32', shape: [inputs] } as const]),
    ...(zeros === undefined
      ? []
      : [{ name: zeros, dtype: 'U8', shape: rows ? [outputs, zeroBytes] : [outputs * zeroBytes] } as const]),
    ...(correction === undefined
      ? []
      : ([
          { name: correction.left, dtype: 'I8', shape: [inputs, rank] },
          { name: correction.right, dtype: 'I8', shape: [rank, outputs] },
          { name: correction.scales, dtype: 'F32', shape: [rank] },
        ] as const)),
  ];
}
