import { describe, expect, it } from 'vitest';
import { AdamW, type AdamWOptions, clipGradNorm, Sgd, type SgdOptions } from '../../../lib/lora/optimizer.js';
import { Parameter } from '../../../lib/lora/parameter.js';
import { tensor } from '../../../lib/tensor/create.js';
import { distance, gaussian, norm } from '../../support/matrices.js';

/** PyTorch's SGD, from its documentation, in float64. */
function sgd(p: Float64Array, gradients: Float32Array[], options: SgdOptions): Float64Array {
  const { lr, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false } = options;
  let velocity: Float64Array | undefined;
  let result: Float64Array = p;
  for (const gradient of gradients) {
    let g: Float64Array = Float64Array.from(gradient, (value, i) => value + weightDecay * result[i]!);
    if (momentum !== 0) {
      velocity = velocity ? velocity.map((v, i) => momentum * v + (1 - dampening) * g[i]!) : g;
      const v = velocity;
      g = nesterov ? g.map((value, i) => value + momentum * v[i]!) : v;
    }
    result = result.map((value, i) => value - lr * g[i]!);
  }
  return result;
}

/** PyTorch's AdamW, from its documentation, in float64. */
function adamW(p: Float64Array, gradients: Float32Array[], options: AdamWOptions): Float64Array {
  const { lr = 1e-3, betas: [b1, b2] = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01 } = options;
  const m = new Float64Array(p.length);
  const v = new Float64Array(p.length);
  let result = p;
  gradients.forEach((g, index) => {
    const t = index + 1;
    result = result.map((value, i) => {
      m[i] = b1 * m[i]! + (1 - b1) * g[i]!;
      v[i] = b2 * v[i]! + (1 - b2) * g[i]! ** 2;
      const decayed = value - lr * weightDecay * value;
      return decayed - (lr * (m[i]! / (1 - b1 ** t))) / (Math.sqrt(v[i]! / (1 - b2 ** t)) + eps);
    });
  });
  return result;
}

/** 37 numbers: no multiple of the width of any vector unit. */
const SIZE = 37;
const gradients = Array.from({ length: 30 }, (_, i) => gaussian([SIZE], 10 + i).data);
const start = gaussian([SIZE], 1);

/**
 * How far the parameter went astray, over what the float32 of the state and of the parameter at
 * each step account for.
 */
function astray(optimizer: (p: Parameter) => Sgd | AdamW, wanted: (p: Float64Array) => Float64Array): number {
  const parameter = new Parameter(tensor(start.data.slice(), [SIZE]));
  const { data } = parameter;
  const trained = optimizer(parameter);
  for (const gradient of gradients) {
    trained.zeroGrad();
    parameter.grad = tensor(gradient, [SIZE]);
    trained.step();
  }
  expect(parameter.data).toBe(data);
  const exact = wanted(Float64Array.from(start.data));
  const rounding = 2e-6 * distance(exact, start.data) + gradients.length * 2 ** -24 * norm(exact);
  return distance(data, exact) / rounding;
}

describe('Sgd', () => {
  it.each<SgdOptions>([
    { lr: 0.1 },
    { lr: 0.1, weightDecay: 0.05 },
    { lr: 0.05, momentum: 0.9 },
    { lr: 0.05, momentum: 0.9, dampening: 0.5 },
    { lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 0.01 },
  ])('%o goes where float64 goes', (options) => {
    expect(
      astray(
        (p) => new Sgd([p], options),
        (p) => sgd(p, gradients, options),
      ),
    ).toBeLessThan(1);
  });

  it.each([
    [{}, 'lr'],
    [{ lr: -1 }, 'lr'],
    [{ lr: 1, momentum: -1 }, 'momentum'],
    [{ lr: 1, dampening: Number.NaN }, 'dampening'],
    [{ lr: 1, weightDecay: -1 }, 'weightDecay'],
    [{ lr: 1, nesterov: true }, 'nesterov'],
    [{ lr: 1, nesterov: true, momentum: 0.9, dampening: 0.1 }, 'nesterov'],
  ])('refuses %o', (options, argument) => {
    expect(() => new Sgd([], options as never)).toThrow(expect.objectContaining({ argument }));
  });
});

describe('AdamW', () => {
  it.each<AdamWOptions>([
    {},
    { lr: 0.05, weightDecay: 0 },
    { lr: 0.05, weightDecay: 0.5, betas: [0.8, 0.99] },
    { lr: 0.01, eps: 0.1, betas: [0, 0] },
  ])('%o goes where float64 goes', (options) => {
    expect(
      astray(
        (p) => new AdamW([p], options),
        (p) => adamW(p, gradients, options),
      ),
    ).toBeLessThan(1);
  });

  it('does the same to every part of a parameter that threads share', () => {
    const count = 2 ** 21 + 5;
    const parameter = new Parameter(tensor(new Float32Array(count).fill(1), [count]));
    const optimizer = new AdamW([parameter], { lr: 0.1 });
    parameter.grad = tensor(new Float32Array(count).fill(2), [count]);
    optimizer.step();
    expect(new Set(parameter.data).size).toBe(1);
    expect(parameter.data[0]).toBeCloseTo(1 - 0.1 * 0.01 - 0.1, 6);
  });

  it.each([
    [{ lr: -1 }, 'lr'],
    [{ betas: [1, 0.9] }, 'betas'],
    [{ betas: [0.9] }, 'betas'],
    [{ eps: -1 }, 'eps'],
    [{ weightDecay: -1 }, 'weightDecay'],
  ])('refuses %o', (options, argument) => {
    expect(() => new AdamW([], options as never)).toThrow(expect.objectContaining({ argument }));
  });
});

describe('optimizers', () => {
  it('skip a parameter without gradient, and count its steps separately', () => {
    const [active, idle] = [1, 2].map(() => new Parameter(tensor(start.data.slice(), [SIZE]))) as [
      Parameter,
      Parameter,
    ];
    const optimizer = new AdamW([active, idle], { lr: 0.1 });
    active.grad = tensor(gradients[0]!, [SIZE]);
    optimizer.step();
    expect(idle.data).toEqual(start.data);
    expect(active.data).not.toEqual(start.data);
    const first = active.data.slice();
    idle.grad = tensor(gradients[0]!, [SIZE]);
    active.zeroGrad();
    optimizer.step();
    expect(idle.data).toEqual(first);
    expect(active.data).toEqual(first);
  });

  it('take a new rate between steps, a parameter once, and Parameters only', () => {
    const parameter = new Parameter(tensor(Float32Array.of(1), [1]));
    const optimizer = new Sgd([parameter, parameter], { lr: 1 });
    expect(optimizer.parameters).toEqual([parameter]);
    parameter.grad = tensor(Float32Array.of(0.25), [1]);
    optimizer.step();
    expect(parameter.data[0]).toBe(0.75);
    optimizer.lr = 2;
    optimizer.step();
    expect(parameter.data[0]).toBe(0.25);
    optimizer.lr = Number.NaN;
    expect(() => optimizer.step()).toThrow('lr');
    expect(parameter.data[0]).toBe(0.25);
    expect(() => new Sgd([start as never], { lr: 1 })).toThrow('parameters');
  });
});

describe('clipGradNorm', () => {
  const parameters = () => {
    const all = [3, 50].map((n) => new Parameter(gaussian([n], n)));
    for (const parameter of all) parameter.grad = gaussian(parameter.shape, 9);
    return [...all, new Parameter(gaussian([4]))];
  };
  const gradient = (all: Parameter[]) => all.flatMap(({ grad }) => [...(grad?.data ?? [])]);

  it('brings the common norm down to the limit, and never up', () => {
    const all = parameters();
    const before = gradient(all);
    expect(clipGradNorm(all, 1)).toBeCloseTo(norm(before), 10);
    expect(norm(gradient(all))).toBeCloseTo(1, 6);
    expect(
      distance(
        gradient(all),
        before.map((value) => value / norm(before)),
      ),
    ).toBeLessThan(1e-6);
    const after = gradient(all);
    expect(clipGradNorm(all, 2)).toBeCloseTo(1, 6);
    expect(gradient(all)).toEqual(after);
  });

  it('refuses gradients that are not finite, and leaves them', () => {
    const all = parameters();
    all[1]!.grad!.data[7] = Number.NaN;
    const before = gradient(all);
    expect(() => clipGradNorm(all, 1)).toThrow(expect.objectContaining({ code: 'ERR_NOT_FINITE' }));
    expect(gradient(all)).toEqual(before);
    expect(() => clipGradNorm(all, 0)).toThrow('maxNorm');
    expect(clipGradNorm([], 1)).toBe(0);
  });
});
