/** What Node reports of a child process that SIGKILL has ended: Windows has no signals. */
export const KILLED = process.platform === 'win32' ? { status: 1, signal: null } : { signal: 'SIGKILL' };
