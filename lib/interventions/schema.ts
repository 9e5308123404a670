import { METHOD_CODE } from '../addon/contract.js';
import { MAX_DIMENSIONS, MAX_THREADS } from '../files/limits.js';
import {
  aBoolean,
  absent,
  aFinite,
  all,
  aName,
  aNumber,
  aQuantity,
  aString,
  aWhole,
  type Check,
  either,
  exactly,
  expected,
  list,
  object,
  oneOf,
  optional,
  orNull,
} from '../files/schema.js';
import { aKeptEnergy, certificateCheck } from '../lowrank/certificate-check.js';
import { FAMILIES } from '../model/families/families.js';
import { MAX_LAYERS } from '../model/layers.js';
import { LAYER_TYPES } from '../model/types.js';
import { FLOAT_DTYPES, QUANTIZED_BLOCKS, WRITABLE_TYPES } from '../tensor/dtype.js';
import type { Edit } from './edit.js';
import { KIND_NAMES } from './kinds/kinds.js';

/** Checks the JSON that jobs on checkpoints write to files and read back. */

export const aSeed = aWhole(0, Number.MAX_SAFE_INTEGER);
const METHOD = oneOf(...Object.keys(METHOD_CODE));
export const READABLE = oneOf(...FLOAT_DTYPES, ...Object.keys(QUANTIZED_BLOCKS));
export const WRITABLE = oneOf(...WRITABLE_TYPES);
export const KIND = oneOf(...KIND_NAMES);
export const FAMILY = oneOf(...FAMILIES.map(({ name }) => name));
export const SHAPE = list(aWhole(1), 2, MAX_DIMENSIONS);

const range: Check = all(list(aWhole(), 2, 2), (value, at) => {
  const [start, end] = value as [number, number];
  return start < end ? undefined : expected('a start before its end', value, at);
});
const SLICE = object({ axis: oneOf('rows', 'columns'), ranges: list(range, 1) });

/** The fields that identify a matrix. */
export const MATRIX_PLACE = { tensor: aString, slice: optional(SLICE), shape: SHAPE };

function editedMatrix(excessBound: Check): Check {
  const certificate = certificateCheck(excessBound);
  return object({
    ...MATRIX_PLACE,
    layer: optional(aWhole(0, MAX_LAYERS)),
    type: optional(oneOf(...LAYER_TYPES)),
    dtype: READABLE,
    writtenAs: READABLE,
    intervention: KIND,
    spec: aString,
    rank: optional(aWhole()),
    rankFraction: optional(aFinite(0, 1)),
    certificate: optional(certificate),
    certificates: optional(list(certificate)),
    uses: optional(aWhole(1)),
    keptEnergy: aKeptEnergy,
    relativeError: aQuantity,
    seconds: aQuantity,
  });
}

/** `EditedMatrix`. */
const EDITED_MATRIX = editedMatrix(aNumber);
/** `EditedMatrix` as the command line prints it, in JSON with null for an infinity. */
export const PRINTED_EDITED_MATRIX = editedMatrix(orNull(aNumber));

/** Checks the report on the edits of one tensor: exactly one `EditedMatrix` for each. */
export function editedMatrices(group: readonly Edit[]): Check {
  return all(list(EDITED_MATRIX, group.length, group.length), (value, at) => {
    for (const [i, { tensor, shape, rank, intervention }] of group.entries()) {
      const edited = (value as unknown[])[i];
      const fault = object({
        tensor: exactly(tensor),
        intervention: exactly(intervention.kind),
        spec: exactly(intervention.spec),
        shape: (value, at) =>
          String(value) === String(shape) ? undefined : expected(`[${shape.join(', ')}]`, value, at),
        // An energy becomes a rank when the singular values are known.
        rank: rank !== undefined ? exactly(rank) : 'energy' in intervention.amount ? aWhole() : absent,
      })(edited, `${at}[${i}]`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  });
}

/** `Settings`. */
export const SETTINGS = object({
  threads: aWhole(1, MAX_THREADS),
  overlap: aBoolean,
  method: METHOD,
  choices: optional(list(object({ method: METHOD, maxMemory: aWhole(1) }))),
});

export const aShare = aFinite(0, 1);
export const aBand: Check = all(list(aShare, 2, 2), (value, at) => {
  const [from, to] = value as [number, number];
  return from < to ? undefined : expected('two shares, the smaller first', value, at);
});

/** A layer's number, from the last one if negative. */
const aLayer = aWhole(-MAX_LAYERS, MAX_LAYERS);

const INTERVENTION: Check = object({
  kind: KIND,
  select: (value, at) =>
    Object.hasOwn(Object(value), 'glob')
      ? object({ glob: aName })(value, at)
      : object({
          layers: either(exactly('all'), list(either(aLayer, list(aLayer, 2, 2)), 1, MAX_LAYERS)),
          types: list(oneOf(...LAYER_TYPES), 1),
        })(value, at),
  amount: (value, at) => {
    const kinds = { band: aBand, rate: aFinite(0, 10), rank: aWhole(), energy: aShare, rankFraction: aShare };
    const name = (Object.keys(kinds) as (keyof typeof kinds)[]).find((key) => Object.hasOwn(Object(value), key));
    return object({ [name ?? 'rankFraction']: kinds[name ?? 'rankFraction'] })(value, at);
  },
  spec: aString,
});

/** The options beside the interventions. */
export const CHOICES = {
  family: optional(FAMILY),
  method: optional(METHOD),
  seed: optional(aSeed),
  threads: optional(aWhole(1, MAX_THREADS)),
  maxMemory: optional(aWhole(1)),
  quant: optional(WRITABLE),
  shared: optional(aBoolean),
  flatten: optional(aBoolean),
};

/** `PlanOptions` with parsed interventions. */
export const STORED_OPTIONS = object({ interventions: list(INTERVENTION, 1), ...CHOICES });
