import type { TimedRun } from '../engines/engine.js';
import type { TokenSession } from '../engines/token-session.js';
import { type BootstrapOptions, interval } from '../metrics/bootstrap.js';
import type { Estimate } from '../metrics/summary.js';
import { estimate, type OutputKind } from './quality.js';

/** The time that a model takes for one kind of run. */
export interface Latency {
  /**
   * `whole`: one pass over a batch of sequences; for a causal model, over the prompt. `decode`: the
   * next token after one sequence.
   */
  readonly kind: TimedRun['kind'];
  readonly batch: number;
  /** Tokens of a sequence; for `decode`, those before the next token. */
  readonly length: number;
  /** Milliseconds, the median of the runs. */
  readonly milliseconds: Estimate;
  /** The median divided by the original's; undefined for the original. */
  readonly relative: Estimate | undefined;
}

/** The speed of a model. */
export interface Speed {
  /**
   * Milliseconds to load the file into the engine, the median. The file is in the system's cache by
   * then.
   */
  readonly loadMilliseconds: number | undefined;
  readonly latency: readonly Latency[];
}

interface Shape {
  readonly kind: TimedRun['kind'];
  readonly batch: number;
  readonly length: number;
}

const WHOLE: readonly Shape[] = [
  { kind: 'whole', batch: 1, length: 16 },
  { kind: 'whole', batch: 1, length: 128 },
  { kind: 'whole', batch: 8, length: 128 },
];
const PROMPT: readonly Shape[] = [
  { kind: 'whole', batch: 1, length: 128 },
  { kind: 'decode', batch: 1, length: 128 },
];
const LOADS = 3;

/** Returns the runs to time for models of this kind and context length. */
export function shapesOf(kind: OutputKind, contextLength: number): Shape[] {
  const shapes = (kind === 'causal' ? PROMPT : WHOLE).map((shape) => ({
    ...shape,
    length: Math.min(shape.length, contextLength - (shape.kind === 'decode' ? 1 : 0)),
  }));
  const different = new Map(shapes.map((shape) => [JSON.stringify(shape), shape]));
  return [...different.values()].filter(({ length }) => length > 0);
}

/**
 * Times models in turns. Each runs once in a round, so that other work of the machine affects all
 * alike, and the model that was first in one round is last in the next. One warm-up run of each is
 * not counted.
 *
 * @param tokens repeated to fill the sequences
 * @returns the speed of each model, in order
 */
export async function speedOf(
  sessions: readonly TokenSession[],
  shapes: readonly Shape[],
  tokens: readonly number[],
  runs: number,
  draw: BootstrapOptions,
  onRound: () => void,
): Promise<Speed[]> {
  const rounds = async (count: number, one: (session: TokenSession) => Promise<number | undefined>) => {
    const times = sessions.map((): number[] => []);
    for (let round = 0; round < count; round++) {
      for (let turn = 0; turn < sessions.length; turn++) {
        draw.signal?.throwIfAborted();
        const i = (turn + round) % sessions.length;
        const time = await one(sessions[i]!);
        if (time !== undefined) times[i]!.push(time);
      }
      onRound();
    }
    return times;
  };
  const loads = await rounds(Math.min(runs, LOADS), loadTime);
  const latencies = sessions.map((): Latency[] => []);
  for (const shape of shapes) {
    const length = shape.length + (shape.kind === 'decode' ? 1 : 0);
    const sequence = Array.from({ length }, (_, i) => tokens[i % tokens.length]!);
    const run: TimedRun = { kind: shape.kind, sequences: Array.from({ length: shape.batch }, () => sequence) };
    for (const { model } of sessions) if (runs > 0) await model.time(run);
    const times = await rounds(runs, ({ model }) => model.time(run));
    for (const [i, own] of times.entries()) {
      if (own.length === 0) continue;
      const base = times[0]!;
      const relative = (drawn?: Uint32Array) => median(own, drawn) / median(base, drawn);
      latencies[i]!.push({
        ...shape,
        milliseconds: await estimate(own.length, (drawn) => median(own, drawn), draw),
        relative: i === 0 || base.length === 0 ? undefined : await estimate(own.length, relative, draw),
      });
    }
  }
  return loads.map((times, i) => ({
    loadMilliseconds: times.length === 0 ? undefined : median(times),
    latency: latencies[i]!,
  }));
}

/** The number of rounds that {@link speedOf} makes. */
export function roundsOf(shapes: readonly Shape[], runs: number): number {
  return Math.min(runs, LOADS) + shapes.length * runs;
}

async function loadTime({ model }: TokenSession): Promise<number> {
  const start = performance.now();
  await model.reload();
  return performance.now() - start;
}

function median(times: readonly number[], drawn?: Uint32Array): number {
  const values = drawn === undefined ? times : times.flatMap((time, i) => new Array<number>(drawn[i]!).fill(time));
  // The interval at level 0 is the median.
  return interval(values, 0).low;
}
