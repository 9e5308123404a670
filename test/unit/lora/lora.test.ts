import { describe, expect, it } from 'vitest';
import { ArgumentError, LowRankError } from '../../../lib/errors.js';
import { Lora } from '../../../lib/lora/lora.js';
import { AdamW, clipGradNorm } from '../../../lib/lora/optimizer.js';
import { memoryUsage, resetNativePeak } from '../../../lib/memory.js';
import { tensor } from '../../../lib/tensor/create.js';
import { distance, gaussian, norm, product } from '../../support/matrices.js';

const small = () => new Lora({ dim: 6, dimOut: 4, r: 2, seed: 3 });

/** What a call throws. */
function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('Lora', () => {
  it('has the defaults of the zeta library: rank 8, alpha 1, both factors normal', () => {
    const lora = new Lora({ dim: 128, dimOut: 64 });
    expect(lora).toMatchObject({ dim: 128, dimOut: 64, r: 8, alpha: 1, scaling: 'standard', scale: 1 / 8 });
    expect(lora.A.shape).toEqual([128, 8]);
    expect(lora.B.shape).toEqual([8, 64]);
    expect(norm(lora.B.data)).toBeGreaterThan(0);
  });

  it('scales by alpha / r, with rslora by alpha / sqrt(r)', () => {
    expect(new Lora({ dim: 3, dimOut: 3, r: 4, alpha: 8 }).scale).toBe(2);
    expect(new Lora({ dim: 3, dimOut: 3, r: 4, alpha: 8, scaling: 'rslora' }).scale).toBe(4);
  });

  it('is x times its weight, whatever the leading dimensions', () => {
    const lora = new Lora({ dim: 24, dimOut: 17, r: 5, alpha: 7, seed: 2 });
    const { data: w, shape } = lora.weight;
    expect(shape).toEqual([24, 17]);
    const exact = product(lora.A.data, lora.B.data, 24, 5, 17).map((value) => value * (7 / 5));
    expect(distance(w, exact) / norm(exact)).toBeLessThan(1e-6);
    for (const leading of [[], [1], [9], [2, 3], [2, 1, 3, 2]]) {
      const x = gaussian([...leading, 24], 4);
      const y = lora.forward(x, { grad: false });
      expect(y.shape).toEqual([...leading, 17]);
      const wanted = product(x.data, w, x.data.length / 24, 24, 17);
      expect(distance(y.data, wanted) / norm(wanted)).toBeLessThan(1e-6);
    }
  });

  it('maps nothing to nothing and zeros to zeros', () => {
    const lora = small();
    expect(lora.forward(tensor(new Float32Array(12), [2, 6])).data).toEqual(new Float32Array(8));
    lora.forget();
    const empty = lora.forward(tensor(new Float32Array(0), [0, 6]));
    expect(empty.shape).toEqual([0, 4]);
    lora.A.grad = tensor(new Float32Array(12).fill(1), [6, 2]);
    lora.zeroGrad();
    expect(lora.backward(empty).shape).toEqual([0, 6]);
    expect(lora.A.grad?.data).toEqual(new Float32Array(12));
  });

  it('writes the zeros of an empty batch over the old gradient, for rank 1 too', () => {
    const lora = new Lora({ dim: 3, dimOut: 2, r: 1, seed: 1 });
    lora.forward(gaussian([2, 3]));
    lora.backward(gaussian([2, 2]));
    expect(norm(lora.B.grad!.data)).toBeGreaterThan(0);
    lora.zeroGrad();
    lora.forward(tensor(new Float32Array(0), [0, 3]));
    lora.backward(tensor(new Float32Array(0), [0, 2]));
    expect(lora.A.grad!.data).toEqual(new Float32Array(3));
    expect(lora.B.grad!.data).toEqual(new Float32Array(2));
  });

  it('leaves its input alone and takes the tensors of other libraries', () => {
    const lora = small();
    const x = gaussian([3, 6]);
    const copy = x.data.slice();
    lora.forward({ data: x.data, dims: [3, 6] });
    lora.backward(gaussian([3, 4]));
    expect(x.data).toEqual(copy);
  });

  it('copies the factors it is given', () => {
    const [a, b] = [gaussian([6, 2], 1), gaussian([2, 4], 2)];
    const lora = Lora.fromFactors(a, b, { alpha: 4 });
    expect(lora).toMatchObject({ dim: 6, dimOut: 4, r: 2, alpha: 4, scale: 2 });
    expect(lora.A.data).toEqual(a.data);
    expect(lora.A.data).not.toBe(a.data);
    expect(thrown(() => Lora.fromFactors(a, gaussian([3, 4])))).toMatchObject({ code: 'ERR_SHAPE' });
  });

  it.each([
    [{ dimOut: 4 }, 'dim'],
    [{ dim: 4 }, 'dimOut'],
    [{ dim: 0, dimOut: 4 }, 'dim'],
    [{ dim: 4, dimOut: 4, r: 0 }, 'r'],
    [{ dim: 4, dimOut: 4, r: 1.5 }, 'r'],
    [{ dim: 4, dimOut: 4, alpha: Number.NaN }, 'alpha'],
    [{ dim: 4, dimOut: 4, scaling: 'other' }, 'scaling'],
    [{ dim: 4, dimOut: 4, init: 'pissa' }, 'init'],
    [{ dim: 4, dimOut: 4, seed: -1 }, 'seed'],
    [undefined, 'dim'],
  ])('refuses %o, naming %s', (options, argument) => {
    const error = thrown(() => new Lora(options as never));
    expect(error).toBeInstanceOf(ArgumentError);
    expect(error).toMatchObject({ argument });
  });

  it('refuses inputs, gradients and outputs of the wrong shape', () => {
    const lora = small();
    expect(thrown(() => lora.forward(gaussian([3, 5])))).toMatchObject({ argument: 'x.shape', code: 'ERR_SHAPE' });
    expect(thrown(() => lora.forward(tensor(new Float32Array(1), [])))).toMatchObject({ code: 'ERR_SHAPE' });
    const x = gaussian([3, 6]);
    expect(thrown(() => lora.forward(x, { out: new Float32Array(11) }))).toMatchObject({ argument: 'out' });
    expect(thrown(() => lora.forward(x, { add: true }))).toMatchObject({ argument: 'add' });
    expect(thrown(() => lora.forward(x, { threads: 0 }))).toMatchObject({ argument: 'threads' });
    expect(lora.pending).toBe(0);
    lora.forward(x);
    expect(thrown(() => lora.backward(gaussian([12])))).toMatchObject({ argument: 'gradY.shape' });
    expect(thrown(() => lora.backward(gaussian([3, 4]), { out: new Float32Array(1) }))).toMatchObject({
      argument: 'out',
    });
    // A refused call uses up no forward pass.
    expect(lora.pending).toBe(1);
    lora.backward(gaussian([3, 4]));
  });

  it('writes into the array it is given, or adds to it', () => {
    const lora = small();
    const x = gaussian([3, 6]);
    const g = gaussian([3, 4]);
    const y = lora.forward(x).data;
    const out = new Float32Array(12).fill(7);
    expect(lora.forward(x, { out }).data).toBe(out);
    expect(out).toEqual(y);
    lora.forward(x, { out, add: true });
    expect(
      distance(
        out,
        y.map((value) => 2 * value),
      ),
    ).toBeLessThan(1e-5);
    const gradX = lora.backward(g).data;
    const into = new Float32Array(18).fill(7);
    expect(lora.backward(g, { out: into }).data).toBe(into);
    expect(into).toEqual(gradX);
    lora.backward(g, { out: into, add: true });
    expect(
      distance(
        into,
        gradX.map((value) => 2 * value),
      ),
    ).toBeLessThan(1e-5);
  });

  it('refuses a result that overlaps what is still needed', () => {
    const lora = new Lora({ dim: 4, dimOut: 4, r: 2 });
    const buffer = new Float32Array(12);
    const x = tensor(buffer.subarray(0, 8), [2, 4]);
    expect(thrown(() => lora.forward(x, { out: buffer.subarray(4, 12) }))).toMatchObject({ argument: 'out' });
    expect(lora.forward(tensor(buffer.subarray(0, 4), [4]), { out: buffer.subarray(4, 8) }).shape).toEqual([4]);
    lora.forward(x);
    const gradient = gaussian([2, 4]);
    for (const out of [x.data, gradient.data]) {
      expect(thrown(() => lora.backward(gradient, { out }))).toMatchObject({ argument: 'out' });
    }
    expect(lora.pending).toBe(2);
  });
});

describe('accumulation', () => {
  it('adds the gradients of passes, until zeroGrad', () => {
    const lora = small();
    const [x, g] = [gaussian([5, 6], 1), gaussian([5, 4], 2)];
    lora.forward(x);
    lora.backward(g);
    const once = lora.A.grad!.data.slice();
    lora.forward(x);
    lora.backward(g);
    expect(
      distance(
        lora.A.grad!.data,
        once.map((value) => 2 * value),
      ) / norm(once),
    ).toBeLessThan(1e-6);
    lora.zeroGrad();
    expect(lora.A.grad).toBeUndefined();
    expect(lora.B.grad).toBeUndefined();
    lora.forward(x);
    lora.backward(g);
    expect(lora.A.grad!.data).toEqual(once);
  });

  it('goes back through several forward passes in reverse order', () => {
    const inputs = [gaussian([2, 6], 1), gaussian([3, 6], 2), gaussian([6], 3)];
    const gradients = [gaussian([2, 4], 4), gaussian([3, 4], 5), gaussian([4], 6)];
    const [together, apart] = [small(), small()];
    for (const x of inputs) together.forward(x);
    expect(together.pending).toBe(3);
    for (const i of [2, 1, 0]) {
      const gradX = together.backward(gradients[i]!);
      apart.forward(inputs[i]!);
      expect(gradX).toEqual(apart.backward(gradients[i]!));
    }
    expect(together.pending).toBe(0);
    expect(together.A.grad).toEqual(apart.A.grad);
    expect(together.B.grad).toEqual(apart.B.grad);
    const error = thrown(() => together.backward(gradients[0]!));
    expect(error).toBeInstanceOf(LowRankError);
    expect(error).toMatchObject({ code: 'ERR_ARGUMENT', hint: expect.stringContaining('forward') });
  });

  it('records nothing without gradients: grad: false, evaluation, forget', () => {
    const lora = small();
    const x = gaussian([2, 6]);
    const y = lora.forward(x, { grad: false });
    expect(lora.pending).toBe(0);
    expect(lora.eval().forward(x)).toEqual(y);
    expect(lora.pending).toBe(0);
    lora.forward(x, { grad: true });
    expect(lora.pending).toBe(1);
    lora.train().forward(x);
    expect(lora.pending).toBe(2);
    lora.forget();
    expect(() => lora.backward(y)).toThrow('no forward pass');
  });

  it('keeps what a pass needs while passes without gradients run', () => {
    const [mixed, alone] = [small(), small()];
    const [x, other, g] = [gaussian([2, 6], 1), gaussian([2, 6], 2), gaussian([2, 4], 3)];
    mixed.forward(x);
    mixed.forward(other, { grad: false });
    mixed.forward(other, { grad: false });
    alone.forward(x);
    expect(mixed.backward(g)).toEqual(alone.backward(g));
    expect(mixed.B.grad).toEqual(alone.B.grad);
  });
});

describe('memory', () => {
  it('training steps allocate no native memory, and no arrays if `out` is given', () => {
    const lora = new Lora({ dim: 256, dimOut: 192, r: 8, seed: 1 });
    const optimizer = new AdamW(lora.parameters());
    const [x, g] = [gaussian([64, 256], 1), gaussian([64, 192], 2)];
    const [y, gradX] = [new Float32Array(64 * 192), new Float32Array(64 * 256)];
    const step = () => {
      optimizer.zeroGrad();
      lora.forward(x, { out: y });
      lora.backward(g, { out: gradX });
      clipGradNorm(lora.parameters(), 1);
      optimizer.step();
    };
    step();
    const grads = [lora.A.grad!.data, lora.B.grad!.data];
    resetNativePeak();
    const before = memoryUsage();
    for (let i = 0; i < 200; i++) step();
    const after = memoryUsage();
    expect(after.native.now).toBe(before.native.now);
    expect(after.native.peak).toBe(before.native.now);
    expect(lora.A.grad!.data).toBe(grads[0]);
    expect(lora.B.grad!.data).toBe(grads[1]);
    // A step that took an array of the output's size would show as 200 times 48 kB.
    expect(after.process.arrayBuffers - before.process.arrayBuffers).toBeLessThan(1e6);
  });
});
