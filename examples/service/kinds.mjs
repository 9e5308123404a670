// The kinds of jobs: what a request may say, and what the process of a job does with it.

import { compressCheckpoint, editCheckpoint, parseAt, parseTensorSpec } from 'lowrank/checkpoint';

const SHARE = { type: 'number', minimum: 0, maximum: 1 };
const SPECS = { type: 'array', items: { type: 'string', maxLength: 500 }, maxItems: 100 };

/** Each kind: the schema of its options, which options are files, a check, and the work. */
export const KINDS = {
  edit: {
    schema: {
      at: SPECS,
      tensors: SPECS,
      flatten: { type: 'boolean' },
      seed: { type: 'integer', minimum: 0 },
      family: { type: 'string' },
      quant: { type: 'string' },
    },
    files: [],
    /** @throws what is wrong with the options, before the job is queued. */
    check: (options) => void interventionsOf(options),
    run: ({ source, out, options, threads, maxMemory, signal, onProgress }) => {
      const { at: _, tensors: __, ...others } = options;
      const interventions = interventionsOf(options);
      return editCheckpoint(source, out, { ...others, interventions, threads, maxMemory, signal, onProgress });
    },
  },
  compress: {
    schema: {
      keep: SHARE,
      size: { type: 'integer', minimum: 1 },
      bits: { type: 'number', exclusiveMinimum: 0 },
      preset: { enum: ['q8', 'q4'] },
      calibration: { type: 'string' },
      uncalibrated: { type: 'boolean' },
      heads: { type: 'boolean' },
    },
    files: ['calibration'],
    check: () => undefined,
    run: ({ source, out, options, threads, maxMemory, signal, onProgress }) =>
      compressCheckpoint(source, out, { ...options, threads, maxMemory, signal, onProgress }),
  },
};

function interventionsOf({ at = [], tensors = [] }) {
  return [...at.map((spec) => parseAt(spec)), ...tensors.map((spec) => parseTensorSpec(spec))];
}
