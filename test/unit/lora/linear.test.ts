import { describe, expect, it } from 'vitest';
import { LoraLinear } from '../../../lib/lora/linear.js';
import { Lora } from '../../../lib/lora/lora.js';
import { distance, gaussian, norm, product } from '../../support/matrices.js';

const [DIM, OUT, ROWS] = [10, 7, 5];
const x = gaussian([ROWS, DIM], 1);
const g = gaussian([ROWS, OUT], 2);

function layer(adapters: Record<string, Lora> = { one: adapter(1) }) {
  const linear = new LoraLinear({ weight: gaussian([DIM, OUT], 3), bias: gaussian([OUT], 4) });
  for (const [name, lora] of Object.entries(adapters)) linear.addAdapter(name, lora);
  return linear;
}
function adapter(seed: number, r = 3) {
  return new Lora({ dim: DIM, dimOut: OUT, r, seed });
}

/** x W + bias in float64, W the sum of the weights given. */
function affine(linear: LoraLinear, ...loras: Lora[]): Float64Array {
  const w = linear.weight.data.map((value, i) => loras.reduce((sum, { weight }) => sum + weight.data[i]!, value));
  return product(x.data, w, ROWS, DIM, OUT).map((value, i) => value + linear.bias!.data[i % OUT]!);
}
const relative = (got: ArrayLike<number>, want: ArrayLike<number>) => distance(got, want) / norm(want);

describe('LoraLinear', () => {
  it('is the frozen layer and the sum of its active adapters', () => {
    const [one, two] = [adapter(1), adapter(2, 4)];
    const linear = layer({ one, two });
    expect(linear.active).toEqual(['one', 'two']);
    expect([...linear.adapters]).toEqual([
      ['one', one],
      ['two', two],
    ]);
    expect(linear.parameters()).toEqual([one.A, one.B, two.A, two.B]);
    expect(relative(linear.forward(x).data, affine(linear, one, two))).toBeLessThan(1e-6);
    linear.setActive('two');
    expect(linear.parameters()).toEqual([two.A, two.B]);
    expect(relative(linear.forward(x).data, affine(linear, two))).toBeLessThan(1e-6);
    linear.setActive([]);
    expect(relative(linear.forward(x).data, affine(linear))).toBeLessThan(1e-6);
    linear.setActive(['two', 'one', 'two']);
    expect(linear.active).toEqual(['two', 'one']);
    linear.removeAdapter('two');
    expect(linear.active).toEqual(['one']);
    expect([...linear.adapters.keys()]).toEqual(['one']);
  });

  it('without a bias, for any leading dimensions, into an array that is given', () => {
    const weight = gaussian([DIM, OUT], 3);
    const linear = new LoraLinear({ weight });
    const whole = linear.forward(x).data;
    expect(relative(whole, product(x.data, weight.data, ROWS, DIM, OUT))).toBeLessThan(1e-6);
    const deep = linear.forward({ data: x.data, shape: [1, ROWS, DIM] });
    expect(deep).toEqual({ data: whole, shape: [1, ROWS, OUT] });
    const row = linear.forward(gaussian([DIM], 9));
    expect(row.shape).toEqual([OUT]);
    const out = whole.slice();
    linear.forward(x, { out, add: true });
    expect(
      relative(
        out,
        whole.map((value) => 2 * value),
      ),
    ).toBeLessThan(1e-6);
    const gradX = linear.forward(x) && linear.backward(g).data;
    const into = gradX.slice();
    linear.forward(x);
    linear.backward(g, { out: into, add: true });
    expect(
      relative(
        into,
        gradX.map((value) => 2 * value),
      ),
    ).toBeLessThan(1e-6);
  });

  it('keeps its passes apart from those that an adapter makes by itself', () => {
    const [one, same] = [adapter(1), adapter(1)];
    const [linear, reference] = [layer({ one }), layer({ one: same })];
    linear.forward(x);
    one.forward(gaussian([2, DIM], 8));
    reference.forward(x);
    expect(linear.backward(g)).toEqual(reference.backward(g));
    expect(one.A.grad).toEqual(same.A.grad);
    expect(one.pending).toBe(1);
  });

  it('runs the hooks of the layer and of its adapters', () => {
    const one = adapter(1);
    const linear = layer({ one });
    const plain = linear.forward(x, { grad: false });
    const frozen = affine(linear);
    one.registerForwardHook((_, __, output) => ({ ...output, data: output.data.map((value) => 2 * value) }));
    const doubled = linear.forward(x, { grad: false });
    const wanted = plain.data.map((value, i) => 2 * value - frozen[i]!);
    expect(relative(doubled.data, wanted)).toBeLessThan(1e-6);
    linear.registerForwardHook((module, _, output) => {
      expect(module).toBe(linear);
      return { ...output, data: new Float32Array(ROWS * OUT) };
    });
    expect(norm(linear.forward(x).data)).toBe(0);
  });

  it('refuses what does not fit', () => {
    const weight = gaussian([DIM, OUT]);
    expect(() => new LoraLinear({ weight: gaussian([DIM]) })).toThrow('weight.shape');
    expect(() => new LoraLinear({ weight, bias: gaussian([DIM]) })).toThrow('bias.shape');
    const linear = layer();
    expect(() => linear.addAdapter('one', adapter(2))).toThrow('name');
    expect(() => linear.addAdapter('', adapter(2))).toThrow('name');
    expect(() => linear.addAdapter('x', {} as never)).toThrow('Lora');
    expect(() => linear.addAdapter('x', new Lora({ dim: OUT, dimOut: DIM }))).toThrow('[10, 7]');
    for (const dropout of [-0.1, 1, Number.NaN]) {
      expect(() => linear.addAdapter('x', adapter(2), { dropout })).toThrow('dropout');
    }
    expect(() => linear.setActive('other')).toThrow('no adapter "other"; this layer has: one');
    expect(() => linear.removeAdapter('other')).toThrow('no adapter');
    expect(() => linear.unmerge()).toThrow('not merged');
    expect(linear.active).toEqual(['one']);
  });
});

describe('merge', () => {
  it('merges the active adapters into the weight, and removes them to the bit if the base is kept', () => {
    const [one, two, idle] = [adapter(1), adapter(2), adapter(3)];
    const linear = layer({ one, two, idle });
    linear.setActive(['one', 'two']);
    const base = linear.weight.data;
    const copy = base.slice();
    const before = linear.forward(x, { grad: false }).data;
    linear.merge();
    expect(linear.merged).toBe(true);
    expect(base).toEqual(copy);
    const sum = copy.map((value, i) => value + one.weight.data[i]! + two.weight.data[i]!);
    expect(relative(linear.weight.data, sum)).toBeLessThan(1e-6);
    expect(relative(linear.forward(x, { grad: false }).data, before)).toBeLessThan(1e-6);
    linear.unmerge();
    expect(linear.merged).toBe(false);
    expect(linear.weight.data).toEqual(copy);
    expect(linear.forward(x, { grad: false }).data).toEqual(before);
  });

  it('without keeping the base writes over the weight, and comes back within rounding', () => {
    const linear = layer();
    const base = linear.weight.data;
    const copy = base.slice();
    linear.merge({ keepBase: false });
    expect(linear.weight.data).toBe(base);
    expect(distance(base, copy)).toBeGreaterThan(0.1);
    linear.unmerge();
    expect(linear.weight.data).toBe(base);
    expect(relative(base, copy)).toBeLessThan(1e-6);
  });

  it('removes what was merged, even if the adapter was trained meanwhile', () => {
    const one = adapter(1);
    const linear = layer({ one });
    const copy = linear.weight.data.slice();
    linear.merge({ keepBase: false });
    one.A.data.fill(100);
    linear.unmerge();
    expect(relative(linear.weight.data, copy)).toBeLessThan(1e-6);
  });

  it('gives the gradient of the input alone while merged', () => {
    const [one, same] = [adapter(1), adapter(1)];
    const [linear, reference] = [layer({ one }), layer({ one: same })];
    linear.merge();
    linear.forward(x);
    reference.forward(x);
    expect(relative(linear.backward(g).data, reference.backward(g).data)).toBeLessThan(1e-6);
    expect(one.A.grad).toBeUndefined();
    expect(same.A.grad).toBeDefined();
  });

  it('is refused twice, while passes are pending, and closes the list of adapters', () => {
    const linear = layer();
    linear.forward(x);
    expect(() => linear.merge()).toThrow('wait for their backward pass');
    linear.forget();
    linear.merge();
    expect(() => linear.merge()).toThrow('merged into the weight');
    expect(() => linear.addAdapter('x', adapter(2))).toThrow('merged into the weight');
    expect(() => linear.setActive([])).toThrow('merged into the weight');
    expect(() => linear.removeAdapter('one')).toThrow('merged into the weight');
    linear.forward(x);
    expect(() => linear.unmerge()).toThrow('wait for their backward pass');
    linear.backward(g);
    linear.unmerge();
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('safeMerge refuses to make %d and leaves all as it was', (bad) => {
    for (const keepBase of [true, false]) {
      const one = adapter(1);
      const linear = layer({ one });
      const copy = linear.weight.data.slice();
      const good = one.B.data[3]!;
      one.B.data[3] = bad;
      expect(() => linear.safeMerge({ keepBase })).toThrow(expect.objectContaining({ code: 'ERR_NOT_FINITE' }));
      expect(linear.merged).toBe(false);
      expect(linear.weight.data).toEqual(copy);
      one.B.data[3] = good;
      const base = linear.weight.data;
      linear.safeMerge({ keepBase });
      expect(linear.weight.data === base).toBe(!keepBase);
      expect(
        relative(
          linear.weight.data,
          copy.map((value, i) => value + one.weight.data[i]!),
        ),
      ).toBeLessThan(1e-6);
    }
  });
});

describe('dropout', () => {
  const identity = () => {
    const eye = (n: number) => ({
      data: Float32Array.from({ length: n * n }, (_, i) => +(i % (n + 1) === 0)),
      shape: [n, n],
    });
    return Lora.fromFactors(eye(100), eye(100), { alpha: 100 });
  };
  const dropping = (dropout: number, seed?: number) => {
    const linear = new LoraLinear({ weight: { data: new Float32Array(10_000), shape: [100, 100] } });
    linear.addAdapter('identity', identity(), { dropout, seed });
    return linear;
  };
  const ones = { data: new Float32Array(20_000).fill(1), shape: [200, 100] };

  it('drops the share that was asked for and scales the rest', () => {
    for (const dropout of [0.1, 0.5, 0.9]) {
      const y = dropping(dropout).forward(ones).data;
      const dropped = y.filter((value) => value === 0).length / y.length;
      expect(Math.abs(dropped - dropout)).toBeLessThan(4 * Math.sqrt((dropout * (1 - dropout)) / y.length));
      expect(y.filter((value) => value !== 0 && Math.abs(value * (1 - dropout) - 1) > 1e-6)).toEqual(
        new Float32Array(0),
      );
    }
  });

  it('drops the same for the same seed, another part at each pass, nothing in evaluation', () => {
    const [first, again, other] = [dropping(0.5, 1), dropping(0.5, 1), dropping(0.5, 2)];
    const y = first.forward(ones).data;
    expect(again.forward(ones).data).toEqual(y);
    expect(other.forward(ones).data).not.toEqual(y);
    const second = first.forward(ones).data;
    expect(second).not.toEqual(y);
    expect(again.forward(ones).data).toEqual(second);
    expect(first.eval().forward(ones).data).toEqual(ones.data);
    expect(dropping(0).forward(ones).data).toEqual(ones.data);
  });

  it('sends the gradient through the numbers that were kept, pass by pass', () => {
    const linear = dropping(0.3, 5);
    const outputs = [linear.forward(ones).data, linear.forward(ones).data];
    for (const y of outputs.reverse()) {
      // The map is linear in its input with the dropped numbers as a diagonal matrix: its gradient
      // is that of sum(y).
      expect(linear.backward(ones).data).toEqual(y);
    }
  });
});
