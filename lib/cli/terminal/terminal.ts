import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

/** Where a command writes: results to `out`, progress and diagnostics to `err`. */
export interface Terminal {
  readonly out: Output;
  readonly err: Output;
}

/**
 * Decides whether to use colours. NO_COLOR (no-color.org: set and not empty) turns them off;
 * otherwise FORCE_COLOR turns them on, and FORCE_COLOR=0 off (force-color.org, and Node's own
 * reading of 0); otherwise they are on for terminals.
 *
 * @internal
 */
export function wantsColors(isTerminal: boolean, environment: Readonly<Record<string, string | undefined>>): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = environment;
  if (NO_COLOR) return false;
  if (FORCE_COLOR) return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false';
  return isTerminal && TERM !== 'dumb';
}

/** A stream and its capabilities. */
export class Output {
  readonly #stream: NodeJS.WriteStream;
  /** Enabled according to {@link wantsColors}. */
  readonly colors: Colors;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.colors = pc.createColors(wantsColors(this.isTerminal, process.env));
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY === true;
  }

  /** Width in characters; undefined if lines may have any length. */
  get columns(): number | undefined {
    return this.isTerminal && this.#stream.columns > 0 ? this.#stream.columns : undefined;
  }

  write(text: string): void {
    this.#stream.write(text);
  }

  lines(lines: readonly string[]): void {
    if (lines.length > 0) this.write(`${lines.join('\n')}\n`);
  }
}

/** The streams of this process. A closed pipe (`| head`) is not an error. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit();
    });
  }
  return { out: new Output(process.stdout), err: new Output(process.stderr) };
}
