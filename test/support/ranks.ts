import type { CompressedLayer } from '../../lib/compress/report.js';

/** The rank of a layer that became factors; undefined for any other. */
export function rankOf({ stored }: CompressedLayer): number | undefined {
  return stored.kind === 'factors' ? stored.rank : undefined;
}
