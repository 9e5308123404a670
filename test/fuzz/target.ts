import type { Random } from './random.js';

/** Something that takes input from strangers. */
export interface Target {
  readonly name: string;
  /** Inputs to begin with; valid ones among them. */
  seeds(): readonly Uint8Array[];
  /** Another input that is like this one. */
  mutate(random: Random, input: Uint8Array): Uint8Array;
  /**
   * Gives the input to the code, in a folder of its own. Answers with what came out, in a few
   * words: answers that were not seen before make the input one to go on from. Throws {@link Wrong}
   * when the code did not behave, and lets errors through that are not the package's own.
   */
  run(input: Uint8Array, folder: string): Promise<string>;
}

/** The code took an input and did the wrong thing with it. */
class Wrong extends Error {
  override readonly name = 'Wrong';
}

export function require(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Wrong(message);
}
