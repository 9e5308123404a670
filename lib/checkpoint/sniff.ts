import { CheckpointError, describe, LowRankError } from '../errors.js';
import { openFile, readAt } from '../files/files.js';
import type { FileContent } from './format.js';
import { ENDINGS_IN_WORDS, FORMATS } from './formats.js';
import { isText, otherFormat } from './other-formats.js';

/** Enough of the start to distinguish text from numbers, and to reach the mark of a tar archive. */
const START_BYTES = 512;
/** The table of contents of a zip archive, or its last part. */
const END_BYTES = 64 * 1024;
/** How many characters of a text are quoted. */
const QUOTED = 30;

/**
 * Recognises a file by its first bytes. An unknown file counts as safetensors, whose reader then
 * reports the fault.
 *
 * @throws {@link CheckpointError} kinds `GitLfsPointer`, `TextFile`; {@link LowRankError}
 *   `ERR_UNSUPPORTED` for a known other format.
 */
export async function sniff(file: string): Promise<FileContent> {
  const { handle, size } = await openFile(file);
  try {
    const start = Buffer.from(await readAt(handle, file, 0, Math.min(size, START_BYTES)));
    for (const format of FORMATS) {
      const content = format.sniff(start);
      if (content !== undefined) return content;
    }
    const text = start.toString('latin1');
    const length = Math.min(size, END_BYTES);
    const readEnd = async () => Buffer.from(await readAt(handle, file, size - length, length)).toString('latin1');
    const other = otherFormat(file, text, text.startsWith('PK') ? await readEnd() : '');
    if (other !== undefined) {
      throw new LowRankError('ERR_UNSUPPORTED', `${file}: is ${other.what}`, { hint: other.hint });
    }
    if (isText(start, size <= START_BYTES)) throw textFault(file, start);
    return 'safetensors';
  } finally {
    await handle.close();
  }
}

function textFault(file: string, start: Buffer): CheckpointError {
  const fault = (kind: string, message: string, hint: string) =>
    new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, file, message, { hint });
  const text = start
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart();
  if (text.startsWith('version https://git-lfs')) {
    return fault('GitLfsPointer', 'is a Git LFS pointer, not the weights', 'Run `git lfs pull` in the folder.');
  }
  if (/^<(?:!doctype html|html|\?xml)/i.test(text)) {
    const hint = 'A server probably sent a message in place of the file: download it again, signed in if necessary.';
    return fault('TextFile', 'is a web page, not the weights', hint);
  }
  const begins = describe(text.slice(0, QUOTED));
  return fault(
    'TextFile',
    `is a text file that starts with ${begins}, not a checkpoint`,
    `Pass a ${ENDINGS_IN_WORDS} file, or the folder of a model.`,
  );
}
