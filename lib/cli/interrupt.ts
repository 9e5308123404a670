/** The abort reason for Ctrl-C; the message says what happened to the work. */
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
 * Runs a job that Ctrl-C can stop: the first one asks it to clean up and stop, a second one kills
 * the process.
 *
 * @param announce called on each Ctrl-C, because a running decomposition cannot be stopped halfway
 * @param reason what an interrupted job throws
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  announce: (again: boolean) => void,
  reason = new Interrupted(),
): Promise<T> {
  const controller = new AbortController();
  const onSignal = () => {
    const again = controller.signal.aborted;
    announce(again);
    if (again) endNow(onSignal);
    controller.abort(reason);
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
 * Ends the process with the signal's default action, which a shell reports as 130. A plain exit
 * would run the native clean-up, which has to wait for the running decomposition.
 */
function endNow(listener: () => void): void {
  if (process.platform === 'win32') process.exit(130);
  process.off('SIGINT', listener);
  process.kill(process.pid, 'SIGINT');
}
