import { join, relative, resolve } from 'node:path';
import type { Checkpoint } from '../checkpoint.js';
import { FORMATS } from '../formats.js';
import { open } from '../open.js';
import { listEntries, locate } from './entries.js';
import { pathOfCopy } from './layouts.js';

/** The summary of an output. */
export interface OutputSummary {
  readonly out: string;
  /**
   * The path that opens as the result: `out`, or a file in it if the folder holds other models and
   * would open as one of them.
   */
  readonly entryPoint: string;
  /**
   * Other weight files of the folder, copied unchanged: a program that opens one of them gets the
   * unedited model.
   */
  readonly untouchedWeights: readonly string[];
}

/** Names of weight files in unsupported formats. */
const OTHER_WEIGHTS = /\.(pth|h5|msgpack)$|(^|\/)pytorch_model[^/]*\.bin$/i;

function isWeightFile(path: string): boolean {
  const name = path.toLowerCase();
  return FORMATS.some(({ ending }) => name.endsWith(ending)) || OTHER_WEIGHTS.test(path);
}

/** Describes the output written to `out`. */
export async function summariseOutput(checkpoint: Checkpoint, out: string): Promise<OutputSummary> {
  return { out, entryPoint: await pathOfCopy(checkpoint, out), untouchedWeights: await untouchedWeights(checkpoint) };
}

async function untouchedWeights(checkpoint: Checkpoint): Promise<string[]> {
  const { source, isFolder } = await locate(checkpoint);
  if (!isFolder) return [];
  const own = new Set([...checkpoint.tensors.values()].map(({ file }) => join(source, file)));
  const main = resolve(source, relative(checkpoint.path, checkpoint.main));
  const untouched: string[] = [];
  for (const { path, folder } of await listEntries(checkpoint)) {
    const file = join(source, path);
    if (folder || !isWeightFile(path) || own.has(file) || file === main) continue;
    if (!(await liesOn(file, own))) untouched.push(path);
  }
  return untouched;
}

/** Whether this is an ONNX graph whose weights are in these files, and so were edited with them. */
async function liesOn(file: string, weights: ReadonlySet<string>): Promise<boolean> {
  if (!file.endsWith('.onnx')) return false;
  try {
    const graph = await open(file);
    await graph.close();
    return [...graph.tensors.values()].some((tensor) => weights.has(join(graph.path, tensor.file)));
  } catch {
    return false;
  }
}
