/** Arrays of one length that are reused, so that steps of equal size allocate no memory. */
export class Scratch {
  readonly #free: Float32Array[] = [];

  /** Returns an array with any contents. */
  take(length: number): Float32Array {
    if (this.#free[0]?.length !== length) this.#free.length = 0;
    return this.#free.pop() ?? new Float32Array(length);
  }

  /** Allows the array to be reused. */
  give(array: Float32Array): void {
    if (this.#free.length > 0 && this.#free[0]!.length !== array.length) this.#free.length = 0;
    this.#free.push(array);
  }
}
