import { describe, expect, it } from 'vitest';
import { ArgumentError } from '../../../lib/errors.js';
import { Hooks } from '../../../lib/lora/hooks.js';
import { Lora } from '../../../lib/lora/lora.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { distance, gaussian, norm } from '../../support/matrices.js';

const [x, g] = [gaussian([3, 6], 1), gaussian([3, 4], 2)];
const small = () => new Lora({ dim: 6, dimOut: 4, r: 2, seed: 3 });
const times = (factor: number, { data, shape }: Tensor) =>
  tensor(
    data.map((value) => factor * value),
    shape,
  );

describe('the list of hooks', () => {
  it('calls in the order of registration, each with the result of the one before', () => {
    const hooks = new Hooks<(value: Tensor) => Tensor | undefined>();
    const seen: string[] = [];
    const named = (name: string, factor?: number) => (value: Tensor) => {
      seen.push(`${name} ${value.data[0]}`);
      return factor === undefined ? undefined : times(factor, value);
    };
    hooks.register(named('first', 2));
    const second = hooks.register(named('second'));
    hooks.register(named('third', 5));
    const one = tensor(Float32Array.of(1), [1]);
    expect(hooks.pass(one, (hook, value) => hook(value)).data).toEqual(Float32Array.of(10));
    expect(seen).toEqual(['first 1', 'second 2', 'third 2']);
    second.remove();
    second.remove();
    seen.length = 0;
    hooks.pass(one, (hook, value) => hook(value));
    expect(seen).toEqual(['first 1', 'third 2']);
    expect(hooks.size).toBe(2);
  });

  it('keeps a function that was registered twice until both handles are removed', () => {
    const hooks = new Hooks<(value: Tensor) => Tensor>();
    const double = (value: Tensor) => times(2, value);
    const handles = [hooks.register(double), hooks.register(double)];
    const result = () => hooks.pass(tensor(Float32Array.of(1), [1]), (hook, value) => hook(value)).data[0];
    expect(result()).toBe(4);
    handles[0]!.remove();
    expect(result()).toBe(2);
    handles[1]!.remove();
    expect(result()).toBe(1);
  });

  it('refuses anything but functions, and results of another shape', () => {
    const lora = small();
    expect(() => lora.registerForwardHook(5 as never)).toThrow(ArgumentError);
    const wrong = lora.registerForwardHook(() => gaussian([4, 3]));
    expect(() => lora.forward(x)).toThrow('a hook returned');
    wrong.remove();
    lora.registerForwardPreHook(() => 'x' as never);
    expect(() => lora.forward(x)).toThrow(ArgumentError);
    expect(lora.pending).toBe(0);
  });
});

describe('hooks of a module', () => {
  it('a forward pre-hook sees the module and the input, and may replace it', () => {
    const [lora, plain] = [small(), small()];
    const seen: unknown[] = [];
    lora.registerForwardPreHook((module, input) => {
      seen.push(module, input.shape);
    });
    const handle = lora.registerForwardPreHook((_, input) => times(2, input));
    expect(lora.forward(x)).toEqual(plain.forward(times(2, x)));
    expect(seen).toEqual([lora, [3, 6]]);
    // The parameters' gradients are those at the replaced input.
    lora.backward(g);
    plain.backward(g);
    expect(lora.A.grad).toEqual(plain.A.grad);
    handle.remove();
    expect(lora.forward(x)).toEqual(plain.forward(x));
  });

  it('a forward hook sees input and output, and may replace the output', () => {
    const [lora, plain] = [small(), small()];
    const inputs: Tensor[] = [];
    lora.registerForwardHook((_, input, output) => {
      inputs.push(input);
      return times(3, output);
    });
    const y = plain.forward(x);
    expect(lora.forward(x)).toEqual(times(3, y));
    expect(inputs).toEqual([x]);
    const out = new Float32Array(12).fill(1);
    lora.forward(x, { out, add: true });
    expect(
      distance(
        out,
        times(3, y).data.map((value) => value + 1),
      ),
    ).toBeLessThan(1e-5);
  });

  it('a backward hook sees both gradients, and may replace that of the input but none of the parameters', () => {
    const [lora, plain] = [small(), small()];
    const seen: unknown[] = [];
    lora.registerBackwardHook((module, gradInput, gradOutput) => {
      seen.push(module, gradInput.shape, gradOutput);
      expect(lora.A.grad).toBeDefined();
      return times(2, gradInput);
    });
    lora.forward(x);
    plain.forward(x);
    const gradX = plain.backward(g);
    expect(lora.backward(g)).toEqual(times(2, gradX));
    expect(seen).toEqual([lora, [3, 6], g]);
    expect(lora.A.grad).toEqual(plain.A.grad);
    lora.forward(x);
    const out = new Float32Array(18).fill(1);
    lora.backward(g, { out, add: true });
    expect(
      distance(
        out,
        times(2, gradX).data.map((value) => value + 1),
      ),
    ).toBeLessThan(1e-5);
  });

  it('run in this order: before, after, gradients of the parameters, backward', () => {
    const lora = small();
    const order: string[] = [];
    lora.registerBackwardHook(() => void order.push('backward'));
    lora.registerForwardHook(() => void order.push('forward'));
    lora.registerForwardPreHook(() => void order.push('pre'));
    lora.B.registerHook(() => void order.push('B'));
    lora.A.registerHook(() => void order.push('A'));
    lora.forward(x);
    lora.backward(g);
    expect(order).toEqual(['pre', 'forward', 'A', 'B', 'backward']);
  });
});

describe('hooks of a parameter', () => {
  it('see only each new gradient, and their result is added instead', () => {
    const [lora, plain] = [small(), small()];
    const seen: Tensor[] = [];
    const watch = lora.A.registerHook((gradient) => void seen.push(gradient));
    const handle = lora.A.registerHook((gradient) => times(10, gradient));
    plain.forward(x);
    plain.backward(g);
    const gradient = plain.A.grad!.data.slice();
    for (let i = 0; i < 2; i++) {
      lora.forward(x);
      lora.backward(g);
    }
    expect(seen.map(({ data }) => data)).toEqual([gradient, gradient]);
    expect(
      distance(
        lora.A.grad!.data,
        gradient.map((value) => 20 * value),
      ) / norm(gradient),
    ).toBeLessThan(1e-5);
    expect(
      distance(
        lora.B.grad!.data,
        plain.B.grad!.data.map((value) => 2 * value),
      ),
    ).toBeLessThan(1e-4);
    handle.remove();
    watch.remove();
    lora.zeroGrad();
    lora.forward(x);
    lora.backward(g);
    expect(lora.A.grad!.data).toEqual(gradient);
  });

  it('do not see a gradient that is kept change later', () => {
    const lora = small();
    const kept: Tensor[] = [];
    lora.A.registerHook((gradient) => void kept.push(gradient));
    lora.forward(x);
    lora.backward(g);
    const copy = kept[0]!.data.slice();
    lora.zeroGrad();
    lora.forward(times(2, x));
    lora.backward(g);
    expect(kept[0]!.data).toEqual(copy);
  });

  it('take a gradient of their shape only, as grad does', () => {
    const lora = small();
    lora.A.registerHook(() => gaussian([2, 6]));
    lora.forward(x);
    expect(() => lora.backward(g)).toThrow('shape');
    expect(lora.A.grad).toBeUndefined();
    expect(() => {
      lora.B.grad = gaussian([4, 2]);
    }).toThrow(ArgumentError);
  });
});
