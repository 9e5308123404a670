import type { DocumentKind } from '../files/document.js';
import { MAX_LOG_BYTES } from '../files/limits.js';
import { aName, aQuantity, aString, aWhole, fields, list, object, optional } from '../files/schema.js';
import { CHOICES, FAMILY, PRINTED_EDITED_MATRIX } from '../interventions/schema.js';

/** The output of `lowrank laser --json`, an `EditReport`. */
export const EDIT_REPORT: DocumentKind = {
  what: 'report of an edit',
  limit: MAX_LOG_BYTES,
  check: object({
    source: aName,
    out: aName,
    entryPoint: aName,
    untouchedWeights: list(aString),
    family: optional(FAMILY),
    options: object(CHOICES),
    edits: list(PRINTED_EDITED_MATRIX),
    seconds: aQuantity,
    resumed: optional(object(fields(aWhole(), 'tensors', 'bytes'))),
    memory: object({
      predicted: object(fields(aWhole(), 'total', 'buffers', 'native')),
      measured: object(fields(aWhole(), 'peakRss', 'nativePeak')),
    }),
  }),
  code: 'ERR_OUTPUT',
  kind: 'NotALog',
  hint: 'Pass the folder of a search, its trials.jsonl, or the output of `lowrank laser --json`.',
};
