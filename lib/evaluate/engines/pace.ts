/** An amount of work: tokens in requests, or questions in trials, each of which costs something. */
export interface Amount {
  readonly tokens: number;
  readonly requests: number;
}

/**
 * Learns how long work takes: seconds = a tokens + b requests, by least squares, scaled so that the
 * work so far took what it took. For a small model b counts most, for a large one a.
 */
export class Pace {
  #tokens = 0;
  #requests = 0;
  #seconds = 0;
  /** The sums of products of the normal equations. */
  #tt = 0;
  #tr = 0;
  #rr = 0;
  #ts = 0;
  #rs = 0;

  get isKnown(): boolean {
    return this.#seconds > 0;
  }

  add({ tokens, requests }: Amount, seconds: number): void {
    this.#tokens += tokens;
    this.#requests += requests;
    this.#seconds += seconds;
    this.#tt += tokens * tokens;
    this.#tr += tokens * requests;
    this.#rr += requests * requests;
    this.#ts += tokens * seconds;
    this.#rs += requests * seconds;
  }

  secondsOf({ tokens, requests }: Amount): number {
    const [a, b] = this.#rates();
    return (this.#seconds * (a * tokens + b * requests)) / (a * this.#tokens + b * this.#requests);
  }

  #rates(): [perToken: number, perRequest: number] {
    const determinant = this.#tt * this.#rr - this.#tr * this.#tr;
    // Requests of one length do not tell the two apart.
    if (determinant <= 1e-9 * this.#tt * this.#rr) return [1, 0];
    const a = (this.#ts * this.#rr - this.#rs * this.#tr) / determinant;
    const b = (this.#rs * this.#tt - this.#ts * this.#tr) / determinant;
    if (a <= 0) return [0, 1];
    return b <= 0 ? [1, 0] : [a, b];
  }
}
