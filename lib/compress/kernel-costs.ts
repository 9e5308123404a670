import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assemble } from '../checkpoint/copy/fill.js';
import { linearModel } from '../checkpoint/onnx/linear-model.js';
import { open } from '../checkpoint/open.js';
import type { Runtime } from '../evaluate/engines/onnx-feeds.js';
import { breakEvenRank } from '../lowrank/rank.js';
import type { BlockFormat } from '../quantize/block-format.js';
import { type Matrix, matricesOf } from './matrices.js';
import type { Storage } from './ranks.js';
import { openSession } from './session.js';
import { changeOf, DENSE, multiplicationsOf, plainly, type Stored } from './stored.js';

export interface CostOptions {
  /** The vectors that a layer multiplies at once. */
  readonly tokens: number;
  readonly threads: number | undefined;
  /** Of MatMulNBits, 0 to 4. */
  readonly accuracyLevel: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Of so many runs the median counts, after some that warm up. */
const [RUNS, WARMING] = [15, 3] as const;

/** By its nodes the cost of a correction is known, whatever it corrects. */
const CORRECTED: BlockFormat = { bits: 4, block: 16, symmetric: true, scales: 'F16' };

/**
 * Measures how long a runtime on this machine takes to multiply by matrices of the forms that are
 * written: each in a model of its own, once for each shape.
 */
export class KernelCosts {
  readonly #known = new Map<string, number>();
  #calling: number | undefined;

  private constructor(
    private readonly runtime: Runtime,
    private readonly options: CostOptions,
    private readonly folder: string,
  ) {}

  /** Measures while `use` runs. */
  static async open<T>(runtime: Runtime, options: CostOptions, use: (costs: KernelCosts) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(tmpdir(), 'lowrank-'));
    try {
      return await use(new KernelCosts(runtime, options, folder));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** The milliseconds of a layer; 0 for rows that are looked up, which take next to nothing. */
  async of(matrix: Matrix, stored: Stored): Promise<number> {
    const { use, m, n } = matrix;
    if (use === 'lookup') return 0;
    if (stored.kind === 'factors') return this.#factors(matrix, stored.rank, stored.storage);
    if (stored.kind !== 'blocks' || stored.rank === 0) return this.#measured(m, n, plainly(stored));
    const plain = await this.#measured(m, n, { ...stored, rank: 0 });
    const [without, corrected] = [0, stored.rank].map((rank): Stored => ({ kind: 'blocks', format: CORRECTED, rank }));
    const added = (await this.#measured(m, n, corrected!)) - (await this.#measured(m, n, without!));
    return plain + Math.max(0, added);
  }

  /** Between a few ranks that are measured, the cost of factors grows in proportion. */
  async #factors(matrix: Matrix, rank: number, storage: Storage): Promise<number> {
    const { m, n } = matrix;
    const most = breakEvenRank(m, n);
    const whole = { kind: 'factors', rank, storage } as const;
    // There the product takes their place.
    if (multiplicationsOf(matrix, whole) === m * n) return this.#measured(m, n, DENSE);
    const ranks = [...new Set([1, most >> 2, most >> 1, most].map((each) => Math.max(1, each)))];
    const above = Math.max(
      1,
      ranks.findIndex((each) => each >= rank),
    );
    const [low, high] = [ranks[above - 1]!, ranks[above] ?? ranks[above - 1]!];
    // Pivoted ones are multiplied by as plain ones.
    const at = (each: number) => this.#measured(m, n, { kind: 'factors', rank: each, storage: 'factors' });
    const [from, to] = [await at(low), await at(high)];
    return high === low ? from : from + ((to - from) * (rank - low)) / (high - low);
  }

  async #measured(m: number, n: number, stored: Stored): Promise<number> {
    const key = `${m} ${n} ${JSON.stringify(stored)}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    // Calling the runtime at all takes longer than small layers do.
    this.#calling ??= await this.#time(1, 1, DENSE);
    const time = Math.max(0, (await this.#time(m, n, stored)) - this.#calling);
    this.#known.set(key, time);
    return time;
  }

  async #time(m: number, n: number, stored: Stored): Promise<number> {
    const { tokens, threads, accuracyLevel, signal } = this.options;
    signal?.throwIfAborted();
    const [base, model] = [join(this.folder, 'base.onnx'), join(this.folder, 'timed.onnx')];
    await writeFile(base, linearModel(tokens, m, n));
    if (stored.kind !== 'dense') {
      const checkpoint = await open(base);
      try {
        const ways = { heads: true, embeddings: false, storage: 'factors', codes: true } as const;
        const [layer] = matricesOf(checkpoint, ways).matrices;
        const change = changeOf(layer!, stored, accuracyLevel)!;
        const [layout] = checkpoint.layout(new Map([[layer!.info.name, change]]));
        // All numbers are 0, which takes no less time.
        await rm(model, { force: true });
        await assemble(layout!.parts!, model, () => base);
      } finally {
        await checkpoint.close();
      }
    }
    const session = await openSession(this.runtime, stored.kind === 'dense' ? base : model, threads);
    try {
      const x = Float32Array.from({ length: tokens * n }, (_, i) => Math.sin(i));
      const feeds = { x: new this.runtime.Tensor('float32', x, [tokens, n]) };
      const times: number[] = [];
      for (let run = 0; run < WARMING + RUNS; run++) {
        const begun = performance.now();
        await session.run(feeds, ['y']);
        if (run >= WARMING) times.push(performance.now() - begun);
      }
      return times.sort((a, b) => a - b)[RUNS >> 1]!;
    } finally {
      await session.release();
    }
  }
}
