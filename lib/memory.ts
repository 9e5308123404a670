import { addon } from './addon/load.js';

/** Bytes. `rss` is what the system gave the process; the native part is inside it, and so are V8's heap and buffers. */
export interface MemoryUsage {
  readonly process: {
    readonly rss: number;
    /** The largest rss so far. */
    readonly peakRss: number;
    readonly heapUsed: number;
    readonly external: number;
    readonly arrayBuffers: number;
  };
  /** Work memory of the native computations: copies, LAPACK workspaces, factors in the making. */
  readonly native: { readonly now: number; readonly peak: number };
}

/** What this process holds now, and held at most. */
export function memoryUsage(): MemoryUsage {
  const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const peakRss = Math.max(rss, process.resourceUsage().maxRSS * 1024);
  return { process: { rss, peakRss, heapUsed, external, arrayBuffers }, native: addon().memory() };
}

/** Begins a new measurement of the native peak; returns the old one, in bytes. */
export function resetNativePeak(): number {
  return addon().resetPeak({});
}
