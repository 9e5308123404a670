import { setTimeout as pause } from 'node:timers/promises';

/** What Windows answers while another program holds a file, but also for good reasons. */
const HELD = new Set(['EPERM', 'EACCES', 'EBUSY']);
const FIRST_PAUSE_MS = 10;
/** Virus scanners and indexers let go of a new file within a second or two. */
const PATIENCE_MS = 5000;

/**
 * Renames or removes a file with patience. Windows refuses both while another program, such as a
 * virus scanner, has the file open, so there the call is repeated for up to five seconds; other
 * systems allow it at once.
 *
 * @param act is called again after such a failure
 * @throws the last error of `act`
 */
export async function patiently<T>(act: () => Promise<T>, platform: NodeJS.Platform = process.platform): Promise<T> {
  for (let wait = FIRST_PAUSE_MS, waited = 0; ; waited += wait, wait *= 2) {
    try {
      return await act();
    } catch (cause) {
      const held = HELD.has((cause as NodeJS.ErrnoException | null)?.code ?? '');
      if (platform !== 'win32' || !held || waited + wait > PATIENCE_MS) throw cause;
    }
    await pause(wait);
  }
}
