import { basename, dirname, join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { listEntries } from '../checkpoint/copy/entries.js';
import { copyWhole, makeFolder, sealCopy } from '../checkpoint/copy/fill.js';
import { requireOutput } from '../checkpoint/copy/output.js';
import { isWeightFile, type OutputSummary } from '../checkpoint/copy/output-summary.js';
import { open } from '../checkpoint/open.js';
import { LowRankError } from '../errors.js';
import { makeFolderAtomically } from '../files/atomic.js';
import { absolutePath, exists } from '../files/files.js';

/**
 * What transformers.js adds to the name of a model's file for the option `dtype` of a pipeline
 * (`DEFAULT_DTYPE_SUFFIX_MAPPING` there).
 */
const SUFFIXES = {
  fp32: '',
  int8: '_int8',
  uint8: '_uint8',
  q8: '_quantized',
  q4: '_q4',
  q2: '_q2',
} as const;

/**
 * A `dtype` by which transformers.js finds a model; it does not look into the file.
 *
 * @useDeclaredType
 */
export type Dtype = keyof typeof SUFFIXES;

export const DTYPES = Object.keys(SUFFIXES) as readonly Dtype[];

/** The folder in which transformers.js looks for models, and hubs hold them. */
const FOLDER = 'onnx';
const CONFIG = 'config.json';

/**
 * Makes a folder that transformers.js loads with a `dtype`: the small files of the model's folder,
 * and the model as `onnx/model_<dtype>.onnx`. It appears complete or not at all.
 *
 * @param source an ONNX file beside its config.json, or in the folder `onnx` there; or that folder
 * @param write writes the model file, and returns something with a summary of its output
 * @throws LowRankError `ERR_UNSUPPORTED` for other formats, for models with external data, and
 *   without config.json; as `requireOutput`, and what `write` throws.
 */
export async function inDtypeFolder<T extends { readonly output: OutputSummary | undefined }>(
  source: string,
  out: string,
  dtype: Dtype,
  write: (model: string, file: string) => Promise<T>,
): Promise<T> {
  const { model, root } = await modelOf(source);
  const target = absolutePath(out);
  await requireOutput(root, target);
  const file = join(FOLDER, `model${SUFFIXES[dtype]}.onnx`);
  let written: T | undefined;
  await makeFolderAtomically(target, async (temporary) => {
    const entries = (await listEntries(root)).filter(({ path, folder }) => folder || !isWeightFile(path));
    for (const entry of entries) {
      const to = join(temporary, entry.path);
      await (entry.folder ? makeFolder(to) : copyWhole(entry, to));
    }
    await makeFolder(join(temporary, FOLDER));
    written = await write(model, join(temporary, file));
    await sealCopy(temporary, entries);
  });
  const output: OutputSummary = { out: target, entryPoint: join(target, file), untouchedWeights: [] };
  return { ...written!, output };
}

/** The file of a model, and the folder that its small files are in. */
async function modelOf(source: string) {
  const checkpoint = await open(source);
  await checkpoint.close();
  const { path, main, graph, tensors } = checkpoint;
  const refuse = (why: string, hint: string) => new LowRankError('ERR_UNSUPPORTED', `${path}: ${why}`, { hint });
  if (graph === undefined) throw refuse('is no ONNX model', 'transformers.js runs ONNX: export the model first.');
  if ([...tensors.values()].some(({ file }) => basename(file) !== basename(main))) {
    throw refuse('has external data, whose names belong to the original file', 'Leave out dtype (--dtype).');
  }
  const folder = dirname(main);
  const root = basename(folder) === FOLDER ? dirname(folder) : folder;
  if (!(await exists(join(root, CONFIG)))) {
    throw refuse(`there is no ${CONFIG} in ${root}, by which transformers.js knows a model`, 'Put it there.');
  }
  const own: Pick<Checkpoint, 'path' | 'tensors'> = { path: root, tensors: new Map() };
  return { model: main, root: own };
}
