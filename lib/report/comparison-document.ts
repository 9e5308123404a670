import { OUTPUT_KINDS } from '../evaluate/compare/quality.js';
import { METRICS } from '../evaluate/metrics/summary.js';
import type { DocumentKind } from '../files/document.js';
import { MAX_LOG_BYTES } from '../files/limits.js';
import {
  aName,
  aNumber,
  aQuantity,
  aWhole,
  type Check,
  fields,
  list,
  object,
  oneOf,
  optional,
  orNull,
} from '../files/schema.js';

/** JSON has null in place of infinity. */
const ESTIMATE = object({ ...fields(orNull(aNumber), 'value', 'low', 'high'), examples: aWhole() });

const MODEL: Check = object({
  checkpoint: aName,
  bytes: aWhole(),
  parameters: optional(aWhole()),
  ...fields(optional(ESTIMATE), 'perplexity', 'divergence', 'agreement', 'cosine', 'rankCorrelation'),
  loadMilliseconds: optional(aQuantity),
  latency: list(
    object({
      kind: oneOf('whole', 'decode'),
      ...fields(aWhole(1), 'batch', 'length'),
      milliseconds: ESTIMATE,
      relative: optional(ESTIMATE),
    }),
  ),
  summary: optional(object(fields(optional(ESTIMATE), ...METRICS))),
  accuracyChange: optional(object(fields(orNull(aNumber), 'difference', 'low', 'high'))),
});

/** The output of `lowrank compare --json`, a `ModelComparison`. */
export const MODEL_COMPARISON: DocumentKind = {
  what: 'comparison of models',
  limit: MAX_LOG_BYTES,
  check: object({
    engine: oneOf('llama', 'onnx'),
    outputs: optional(oneOf(...OUTPUT_KINDS)),
    ...fields(aWhole(), 'texts', 'tokens', 'questions'),
    original: MODEL,
    candidates: list(MODEL, 1),
    seconds: aQuantity,
  }),
  code: 'ERR_OUTPUT',
  kind: 'NotALog',
  hint: 'Pass the output of `lowrank compare --json`.',
};
