import { addon } from './addon/load.js';

/**
 * Memory of this process in bytes. `rss` is what the system has given the process; it includes the
 * native part, and V8's heap and buffers.
 */
export interface MemoryUsage {
  readonly process: {
    readonly rss: number;
    /** The largest rss so far. */
    readonly peakRss: number;
    readonly heapUsed: number;
    readonly external: number;
    readonly arrayBuffers: number;
  };
  /** Work memory of native computations: copies, LAPACK workspaces, unfinished factors. */
  readonly native: { readonly now: number; readonly peak: number };
}

/** Returns the memory that this process holds now, and the most that it has held. */
export function memoryUsage(): MemoryUsage {
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const peakRss = Math.max(rss, process.resourceUsage().maxRSS * 1024);
  return { process: { rss, peakRss, heapUsed, external, arrayBuffers }, native: addon().memory() };
}

/** Restarts the measurement of the native peak; returns the old peak in bytes. */
export function resetNativePeak(): number {
  return addon().resetPeak({});
}
