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

/** Whether a file of this name holds weights, in a format that is supported or not. */
export function isWeightFile(path: string): boolean {
  const name = path.toLowerCase();
  return FORMATS.some(({ ending }) => name.endsWith(ending)) || OTHER_WEIGHTS.test(path);
}

/** Describes the output written to `out`. */
export async function summariseOutput(checkpoint: Checkpoint, out: string): Promise<OutputSummary> {
  return { out, entryPoint: await pathOfCopy(checkpoint, out), untouchedWeights: await untouchedWeights(checkpoint) };
}

async function untouchedWeights(checkpoint: Checkpoint): Promise<string[]> {
  const untouched: string[] = [];
  for (const path of await otherWeights(checkpoint)) if (!(await liesOn(checkpoint, path))) untouched.push(path);
  return untouched;
}

/**
 * Returns the ONNX graphs in the checkpoint's folder whose weights are in its files. They are of no
 * use where these files become others.
 */
export async function graphsOn(checkpoint: Checkpoint): Promise<string[]> {
  const graphs: string[] = [];
  for (const path of await otherWeights(checkpoint)) if (await liesOn(checkpoint, path)) graphs.push(path);
  return graphs;
}

/** Lists the weight files of the folder that are not the checkpoint's own. */
async function otherWeights(checkpoint: Checkpoint): Promise<string[]> {
  const { source, isFolder } = await locate(checkpoint);
  if (!isFolder) return [];
  const own = ownFiles(checkpoint, source);
  const main = resolve(source, relative(checkpoint.path, checkpoint.main));
  const entries = await listEntries(checkpoint);
  return entries.flatMap(({ path, folder }) => {
    const file = join(source, path);
    return folder || !isWeightFile(path) || own.has(file) || file === main ? [] : [path];
  });
}

function ownFiles({ tensors }: Checkpoint, source: string): ReadonlySet<string> {
  return new Set([...tensors.values()].map(({ file }) => join(source, file)));
}

/**
 * Whether this is an ONNX graph whose weights are in the checkpoint's files, and so are edited with
 * them.
 */
async function liesOn(checkpoint: Checkpoint, path: string): Promise<boolean> {
  if (!path.endsWith('.onnx')) return false;
  const { source } = await locate(checkpoint);
  const own = ownFiles(checkpoint, source);
  try {
    const graph = await open(join(source, path));
    await graph.close();
    return [...graph.tensors.values()].some((tensor) => own.has(join(graph.path, tensor.file)));
  } catch {
    return false;
  }
}
