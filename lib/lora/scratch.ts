/** Arrays of one length that are used again, so that steps of equal size take no new memory. */
export class Scratch {
  readonly #free: Float32Array[] = [];

  /** An array with any contents. */
  take(length: number): Float32Array {
    if (this.#free[0]?.length !== length) this.#free.length = 0;
    return this.#free.pop() ?? new Float32Array(length);
  }

  /** The array may be taken again. */
  give(array: Float32Array): void {
    if (this.#free.length > 0 && this.#free[0]!.length !== array.length) this.#free.length = 0;
    this.#free.push(array);
  }
}
