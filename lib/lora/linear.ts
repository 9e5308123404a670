import { callSync } from '../addon/call.js';
import { addon } from '../addon/load.js';
import { ArgumentError, describe, LowRankError } from '../errors.js';
import { boolean, checkedBelow, checkOptions, number, type OptionTypes } from '../options.js';
import { seedOf } from '../random.js';
import { asTensor, Tensor, type TensorLike } from '../tensor/tensor.js';
import { requireFinite } from './finite.js';
import { Lora } from './lora.js';
import { Module, type ProductTarget, type Rows } from './module.js';
import type { Parameter } from './parameter.js';

export interface LoraLinearOptions {
  /**
   * [dim, dimOut], frozen; used without a copy, unless it is a view that is not row-major. A
   * checkpoint that stores weights as [out, in] needs a transpose first.
   */
  weight: TensorLike;
  /** [dimOut], frozen. */
  bias?: TensorLike | undefined;
}

export interface AdapterOptions {
  /**
   * The probability with which each number of the adapter's input is set to 0 in training (the
   * others grow by 1 / (1 - p)). 0 by default.
   */
  dropout?: number | undefined;
  /**
   * The seed of the dropout, 0 by default. The same seed and the same passes drop the same numbers.
   */
  seed?: number | undefined;
}

export interface LoraMergeOptions {
  /**
   * Keeps the original weight beside the merged one, so that {@link LoraLinear.unmerge} restores it
   * to the bit: true by default. False writes over the weight's own array, and `unmerge` subtracts:
   * it restores the weight within rounding.
   */
  keepBase?: boolean | undefined;
}

const LINEAR_OPTIONS: OptionTypes<LoraLinearOptions> = { weight: checkedBelow(), bias: checkedBelow() };
const ADAPTER_OPTIONS: OptionTypes<AdapterOptions> = { dropout: number, seed: number };
const MERGE_OPTIONS: OptionTypes<LoraMergeOptions> = { keepBase: boolean };

interface Adapter {
  readonly lora: Lora;
  readonly probability: number;
  readonly seed: number;
  /** How much of the seed's stream has been used. */
  drawn: number;
}

/** A forward pass through one adapter. */
interface AdapterPass {
  readonly lora: Lora;
  readonly pass: ReturnType<Lora['pass']>;
  /** The job that dropped numbers of the input, to repeat on its gradient. */
  readonly dropped: { readonly probability: number; readonly seed: number; readonly offset: number } | undefined;
}

interface MergedState {
  /** Copies of what was added, because training may change the adapters afterwards. */
  readonly added: readonly Lora[];
  /** The original weight, if it was kept. */
  readonly base: Float32Array | undefined;
}

/**
 * A frozen linear layer with adapters beside it: `x -> x W + bias + sum of the active adapters`.
 * Its parameters are those of the active adapters.
 */
export class LoraLinear extends Module<readonly AdapterPass[]> {
  readonly dim: number;
  readonly dimOut: number;
  readonly bias: Tensor | undefined;
  readonly #adapters = new Map<string, Adapter>();
  #active: readonly string[] = [];
  #weight: Float32Array;
  #merged: MergedState | undefined;

  /** @throws LowRankError `ERR_SHAPE` if weight and bias do not fit together, `ERR_ARGUMENT`. */
  constructor(options: LoraLinearOptions) {
    super();
    const { weight, bias } = checkOptions(options, LINEAR_OPTIONS, 'LoraLinear');
    const { data, shape } = asTensor(weight, 'weight');
    if (shape.length !== 2 || shape.includes(0)) {
      throw new ArgumentError('weight.shape', '[dim, dimOut], both at least 1', shape, 'ERR_SHAPE');
    }
    [this.dim, this.dimOut] = shape as [number, number];
    this.#weight = data;
    this.bias = bias === undefined ? undefined : asTensor(bias, 'bias');
    if (this.bias && (this.bias.shape.length !== 1 || this.bias.shape[0] !== this.dimOut)) {
      throw new ArgumentError('bias.shape', `[${this.dimOut}]`, this.bias.shape, 'ERR_SHAPE');
    }
  }

  /** The base weight or the merged one, [dim, dimOut]. Not a copy. */
  get weight(): Tensor {
    return new Tensor(this.#weight, [this.dim, this.dimOut]);
  }

  /** Whether the active adapters are merged into the weight. */
  get merged(): boolean {
    return this.#merged !== undefined;
  }

  /** The adapters by name, in the order in which they were added. */
  get adapters(): ReadonlyMap<string, Lora> {
    return new Map([...this.#adapters].map(([name, { lora }]) => [name, lora]));
  }

  /** The names of the active adapters. */
  get active(): readonly string[] {
    return this.#active;
  }

  /**
   * Adds an adapter and makes it active, beside the other active ones.
   *
   * @throws LowRankError `ERR_ARGUMENT` for a name that is taken or a dropout outside [0, 1), or
   *   while merged; `ERR_SHAPE` if the adapter does not fit the weight.
   */
  addAdapter(name: string, lora: Lora, options?: AdapterOptions): void {
    const { dropout = 0, seed } = checkOptions(options, ADAPTER_OPTIONS, 'addAdapter');
    this.#requireUnmerged('addAdapter');
    if (typeof name !== 'string' || name === '') throw new ArgumentError('name', 'a name', name);
    if (this.#adapters.has(name)) throw new ArgumentError('name', 'a name that no adapter of this layer has', name);
    if (!(lora instanceof Lora)) throw new ArgumentError('lora', 'a Lora', lora);
    if (lora.dim !== this.dim || lora.dimOut !== this.dimOut) {
      const expected = `an adapter of [${this.dim}, ${this.dimOut}], like the weight`;
      throw new ArgumentError('lora', expected, [lora.dim, lora.dimOut], 'ERR_SHAPE');
    }
    if (!(dropout >= 0 && dropout < 1)) {
      throw new ArgumentError('dropout', 'a number of at least 0 and below 1', dropout);
    }
    this.#adapters.set(name, { lora, probability: dropout, seed: seedOf(seed), drawn: 0 });
    this.#active = [...this.#active, name];
  }

  /**
   * Removes an adapter. Throws `ERR_NOT_FOUND` for an unknown name, `ERR_ARGUMENT` while merged.
   */
  removeAdapter(name: string): void {
    this.#requireUnmerged('removeAdapter');
    this.#find(name);
    this.#adapters.delete(name);
    this.#active = this.#active.filter((other) => other !== name);
  }

  /**
   * Makes only these adapters active. Throws `ERR_NOT_FOUND` for an unknown name, `ERR_ARGUMENT`
   * while merged.
   */
  setActive(names: string | readonly string[]): void {
    this.#requireUnmerged('setActive');
    const wanted = [...new Set([names].flat())];
    for (const name of wanted) this.#find(name);
    this.#active = wanted;
  }

  parameters(): Parameter[] {
    return this.#active.flatMap((name) => this.#find(name).lora.parameters());
  }

  /**
   * Adds the active adapters to the weight, so that a forward pass costs one product. While merged,
   * backward passes compute only the gradient of the input.
   *
   * @throws LowRankError `ERR_ARGUMENT` if already merged, or while forward passes wait for their
   *   backward pass.
   */
  merge(options?: LoraMergeOptions): void {
    this.#merge(checkOptions(options, MERGE_OPTIONS, 'merge'), false);
  }

  /**
   * Does the same as {@link LoraLinear.merge}, but refuses to make a weight with a NaN or an
   * infinity; the layer is then unchanged.
   *
   * @throws LowRankError `ERR_NOT_FINITE`, and as `merge`.
   */
  safeMerge(options?: LoraMergeOptions): void {
    this.#merge(checkOptions(options, MERGE_OPTIONS, 'safeMerge'), true);
  }

  /**
   * Removes the merged adapters from the weight, as they were when merged.
   *
   * @throws LowRankError `ERR_ARGUMENT` if not merged, or while forward passes wait for their
   *   backward pass.
   */
  unmerge(): void {
    if (!this.#merged) throw new LowRankError('ERR_ARGUMENT', 'unmerge: the layer is not merged');
    this.#requireNothingPending('unmerge');
    const { base, added } = this.#merged;
    if (base) {
      this.#weight = base;
    } else {
      for (const lora of added) lora.addTo(this.#weight, -1);
    }
    this.#merged = undefined;
  }

  protected override compute({ data: x, rows }: Rows, y: ProductTarget, grad: boolean): AdapterPass[] {
    const { dim, dimOut } = this;
    const count = rows * dim;
    const base = y.add ? new Float32Array(y.data.length) : y.data;
    const [w, bias, { threads }] = [this.#weight, this.bias?.data, y];
    callSync(addon().affine, { rows, dim, dimOut, x, w, bias, y: base, threads });
    if (y.add) for (let i = 0; i < base.length; i++) y.data[i]! += base[i]!;
    if (this.#merged) return [];
    return this.#active.map((name) => {
      const adapter = this.#find(name);
      const { lora, probability, seed } = adapter;
      const dropped = this.training && probability > 0 ? { probability, seed, offset: adapter.drawn } : undefined;
      let input = x;
      if (dropped) {
        input = new Float32Array(count);
        callSync(addon().dropout, { ...dropped, count, source: x, target: input, add: false });
        adapter.drawn += count;
      }
      const pass = lora.pass(
        { data: input, shape: [rows, dim] },
        { grad, out: y.data, add: true, threads: threads || undefined },
      );
      return { lora, pass, dropped };
    });
  }

  protected override differentiate(passes: readonly AdapterPass[], gradY: Rows, gradX: ProductTarget): void {
    const { dim, dimOut } = this;
    const { rows } = gradY;
    const threads = gradX.threads;
    const base = gradX.add ? new Float32Array(gradX.data.length) : gradX.data;
    callSync(addon().gemm, {
      batch: 1,
      m: rows,
      n: dim,
      k: dimOut,
      transposeA: false,
      transposeB: true,
      a: gradY.data,
      b: this.#weight,
      c: base,
      threads,
    });
    if (gradX.add) for (let i = 0; i < base.length; i++) gradX.data[i]! += base[i]!;
    const gradient = { data: gradY.data, shape: [rows, dimOut] };
    for (const { lora, pass, dropped } of passes) {
      const options = { threads: threads || undefined };
      if (!dropped) {
        lora.backwardOf(pass, gradient, { ...options, out: gradX.data, add: true });
      } else {
        const { data: source } = lora.backwardOf(pass, gradient, options);
        callSync(addon().dropout, { ...dropped, count: source.length, source, target: gradX.data, add: true });
      }
    }
  }

  #merge({ keepBase = true }: LoraMergeOptions, safe: boolean): void {
    this.#requireUnmerged(safe ? 'safeMerge' : 'merge');
    this.#requireNothingPending(safe ? 'safeMerge' : 'merge');
    const added = this.#active.map((name) => {
      const { A, B, alpha, scaling } = this.#find(name).lora;
      return Lora.fromFactors(A, B, { alpha, scaling });
    });
    const base = this.#weight;
    const sum = keepBase || safe ? base.slice() : base;
    for (const lora of added) lora.addTo(sum);
    if (safe) requireFinite(sum, 'the merged weight');
    if (keepBase) {
      this.#weight = sum;
    } else if (sum !== base) {
      base.set(sum);
    }
    this.#merged = { added, base: keepBase ? base : undefined };
  }

  #find(name: string): Adapter {
    const adapter = this.#adapters.get(name);
    if (!adapter) {
      const names = [...this.#adapters.keys()].join(', ') || 'none';
      throw new LowRankError('ERR_NOT_FOUND', `no adapter ${describe(name)}; this layer has: ${names}`);
    }
    return adapter;
  }

  #requireUnmerged(what: string): void {
    if (!this.#merged) return;
    throw new LowRankError('ERR_ARGUMENT', `${what}: the adapters are merged into the weight`, {
      hint: 'Call unmerge first.',
    });
  }

  #requireNothingPending(what: string): void {
    if (this.pending === 0) return;
    throw new LowRankError('ERR_ARGUMENT', `${what}: ${this.pending} forward passes wait for their backward pass`, {
      hint: 'Call backward for each, or forget() to drop them.',
    });
  }
}
