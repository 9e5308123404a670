import { join, relative, resolve } from 'node:path';
import type { Checkpoint } from '../checkpoint.js';
import { FORMATS } from '../formats.js';
import { open } from '../open.js';
import { listEntries, locate } from './entries.js';
import { pathOfCopy } from './places.js';

/** The summary of an output. */
export interface Copied {
  readonly out: string;
  /**
   * The path that opens as the result: `out`, or a file in it if the folder holds other models and
   * would open as one of them.
   */
  readonly main: string;
  /**
   * Other weight files of the folder, copied unchanged: a program that opens one of them gets the
   * unedited model.
   */
  readonly others: readonly string[];
}

/** Names of weight files in unsupported formats. */
const OTHER_WEIGHTS = /\.(pth|h5|msgpack)$|(^|\/)pytorch_model[^/]*\.bin$/i;

function isWeightFile(path: string): boolean {
  const name = path.toLowerCase();
  return FORMATS.some(({ ending }) => name.endsWith(ending)) || OTHER_WEIGHTS.test(path);
}

/** Describes the output written to `out`. */
export async function describeCopy(checkpoint: Checkpoint, out: string): Promise<Copied> {
  return { out, main: await pathOfCopy(checkpoint, out), others: await otherWeights(checkpoint) };
}

async function otherWeights(checkpoint: Checkpoint): Promise<string[]> {
  const { source, isFolder } = await locate(checkpoint);
  if (!isFolder) return [];
  const own = new Set([...checkpoint.tensors.values()].map(({ file }) => join(source, file)));
  const main = resolve(source, relative(checkpoint.path, checkpoint.main));
  const others: string[] = [];
  for (const { path, folder } of await listEntries(checkpoint)) {
    const file = join(source, path);
    if (folder || !isWeightFile(path) || own.has(file) || file === main) continue;
    if (!(await liesOn(file, own))) others.push(path);
  }
  return others;
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
