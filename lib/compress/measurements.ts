import { join } from 'node:path';
import { digestOfJson, invalidJournal, Journal } from '../files/journal.js';
import { aDigest, aMagnitude, object } from '../files/schema.js';
import { SerialQueue } from '../files/serial-queue.js';

const FILE = 'measurements';
const LINE = object({ of: aDigest, value: aMagnitude });

/**
 * Numbers that took a run of the model to find, kept in a folder so that a later run of the job
 * need not find them again.
 */
export class Measurements {
  readonly #values: Map<string, number>;
  readonly #lines = new SerialQueue();

  private constructor(
    private readonly journal: Journal,
    values: Map<string, number>,
  ) {
    this.#values = values;
  }

  /** Whether a file of this name in such a folder is ours. */
  static owns(name: string): boolean {
    return name === FILE;
  }

  /** Call it while no other process measures in the folder, which must exist. */
  static async open(folder: string): Promise<Measurements> {
    const { journal, entries } = await Journal.open(join(folder, FILE));
    const values = new Map<string, number>();
    for (const [i, entry] of entries.entries()) {
      const fault = LINE(entry, '');
      if (fault !== undefined) {
        await journal.close();
        invalidJournal(journal.file, `line ${i + 1}: ${fault}`);
      }
      const { of, value } = entry as { of: string; value: number };
      values.set(of, value);
    }
    return new Measurements(journal, values);
  }

  /**
   * Returns what was measured before, or measures it.
   *
   * @param what all that determines the value, as JSON has it
   */
  async of(what: unknown, measure: () => Promise<number>): Promise<number> {
    const of = digestOfJson(what);
    const known = this.#values.get(of);
    if (known !== undefined) return known;
    const value = await measure();
    this.#values.set(of, value);
    await this.#lines.run(() => this.journal.append({ of, value }));
    return value;
  }

  async close(): Promise<void> {
    await this.#lines.idle();
    await this.journal.close();
  }
}
