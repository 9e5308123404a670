import type { OutputChange } from '../../compress/output-change.js';
import { formatShare } from '../../text/format.js';

/** Describes how far the outputs of a written model are from the original's. */
export function describeCheck({ samples, divergence, agreement, cosine }: OutputChange): string {
  const quality =
    cosine === undefined
      ? `KL ${divergence!.toPrecision(3)}, same likeliest token ${formatShare(agreement!)}`
      : `mean cosine ${cosine.toFixed(4)}`;
  return `loaded and compared with the original on ${samples} samples: ${quality}`;
}
