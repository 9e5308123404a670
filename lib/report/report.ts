import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { EditReport } from '../edit/edit-checkpoint.js';
import { CheckpointError } from '../errors.js';
import type { ModelComparison } from '../evaluate/compare/compare.js';
import { writeAtomically } from '../files/atomic.js';
import { parseDocument } from '../files/document.js';
import { ioError, openFile, readAt, readSmallFile, requirePath } from '../files/files.js';
import { MAX_LOG_BYTES } from '../files/limits.js';
import { readSearchLog } from '../search/log.js';
import { MODEL_COMPARISON } from './comparison-document.js';
import { comparisonReport } from './comparison-report.js';
import { EDIT_REPORT } from './edit-document.js';
import { editReport } from './edit-report.js';
import { GENERATOR } from './page.js';
import { searchReport } from './search-report.js';

const REPORT_FILE = 'report.html';

/**
 * Writes a report of a search, finished or not, of an edit or of a comparison, as one HTML file
 * that loads nothing and runs nothing.
 *
 * @param from the output folder of a search, its `trials.jsonl`, or a file with the output of
 *   `lowrank laser --json` or `lowrank compare --json`
 * @param out `report.html` in the folder of `from` by default; an existing report is replaced, any
 *   other file is not
 * @returns the path of the report
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` if a file cannot be read or written;
 *   `ERR_OUTPUT`, kind `NotALog`, if the input is none of these, and kind
 *   `OutputExists` if `out` exists and is not a report.
 */
export async function writeReport(from: string, out?: string): Promise<string> {
  requirePath(from);
  if (out !== undefined) requirePath(out);
  const html = await reportOf(from);
  const path = resolve(out ?? join((await isFolder(from)) ? from : dirname(from), REPORT_FILE));
  await writeAtomically(path, html, { replace: await isReport(path) });
  return path;
}

async function reportOf(from: string): Promise<string> {
  if (await isFolder(from)) return searchReport(await readSearchLog(from));
  const bytes = await readSmallFile(from, MAX_LOG_BYTES);
  const document = documentIn(bytes);
  if (document === undefined) return searchReport(await readSearchLog(from));
  if ('candidates' in document)
    return comparisonReport(parseDocument(bytes, from, MODEL_COMPARISON) as ModelComparison);
  return editReport(parseDocument(bytes, from, EDIT_REPORT) as EditReport);
}

/** Returns the JSON document that a file is; undefined for lines of a log or anything else. */
function documentIn(bytes: Uint8Array): object | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    const isObject = typeof value === 'object' && value !== null;
    return isObject && 'line' in value ? undefined : isObject ? value : {};
  } catch {
    return undefined;
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw ioError(path, 'cannot be read', cause);
  }
}

/** The first bytes of every report name its generator. */
const HEAD_BYTES = 1024;

/**
 * Whether a file is a report, so that it may be replaced.
 *
 * @throws {@link CheckpointError} kind `OutputExists` for any other file.
 */
async function isReport(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isFile()) {
      const { handle, size } = await openFile(path);
      try {
        const head = Buffer.from(await readAt(handle, path, 0, Math.min(size, HEAD_BYTES))).toString('latin1');
        if (head.includes(`content="${GENERATOR} `)) return true;
      } finally {
        await handle.close();
      }
    }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw ioError(path, 'cannot be read', cause);
  }
  throw new CheckpointError(
    'ERR_OUTPUT',
    'OutputExists',
    path,
    `already exists, and ${basename(path)} is not a report`,
    {
      hint: 'Choose another path, or delete it first.',
    },
  );
}
