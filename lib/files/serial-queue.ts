/** Runs asynchronous actions one at a time, in the order in which they were queued. */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  /** Queues an action. It runs even if earlier actions fail. */
  run<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#last.then(action);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Resolves when everything queued before this call has ended; never rejects. */
  async idle(): Promise<void> {
    await this.#last;
  }
}
