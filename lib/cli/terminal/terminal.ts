import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

/** Where a command writes: its result to `out`, all talk to `err`. */
export interface Terminal {
  readonly out: Output;
  readonly err: Output;
}

/**
 * Whether to write in colours: never with NO_COLOR (no-color.org: set and not empty), else always with FORCE_COLOR, and
 * never with FORCE_COLOR=0 (force-color.org, and Node's own reading of 0); else where the stream is a terminal.
 *
 * @internal
 */
export function wantsColors(isTerminal: boolean, environment: Readonly<Record<string, string | undefined>>): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = environment;
  if (NO_COLOR) return false;
  if (FORCE_COLOR) return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false';
  return isTerminal && TERM !== 'dumb';
}

/** A stream, and what it can show. */
export class Output {
  readonly #stream: NodeJS.WriteStream;
  /** As {@link wantsColors} says. */
  readonly colors: Colors;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.colors = pc.createColors(wantsColors(this.isTerminal, process.env));
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY === true;
  }

  /** In characters; undefined where lines may be of any length. */
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

/** The process's own. A reader who has seen enough (`| head`) is no fault. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit();
    });
  }
  return { out: new Output(process.stdout), err: new Output(process.stderr) };
}
