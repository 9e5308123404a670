/** The reason of the abort that Ctrl-C causes; the message says what has become of the work. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';

  constructor(
    message = 'interrupted, nothing was written',
    readonly hint?: string,
  ) {
    super(message);
  }
}

/**
 * Runs a job that Ctrl-C ends: the first one asks it to clean up and stop, a second one ends the process at once.
 *
 * @param announce called at each, since a decomposition that runs cannot be stopped in its middle
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  announce: (again: boolean) => void,
): Promise<T> {
  const controller = new AbortController();
  const onSignal = () => {
    const again = controller.signal.aborted;
    announce(again);
    if (again) endNow(onSignal);
    controller.abort(new Interrupted());
  };
  process.on('SIGINT', onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    process.off('SIGINT', onSignal);
  }
}

/**
 * Ends the process by the signal's own default, which a shell reports as 130. A plain exit would run the clean-up of the
 * native code, and that has to wait for the decomposition that runs.
 */
function endNow(listener: () => void): void {
  if (process.platform === 'win32') process.exit(130);
  process.off('SIGINT', listener);
  process.kill(process.pid, 'SIGINT');
}
