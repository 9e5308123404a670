import { CheckpointError, describe, LowRankError } from '../errors.js';
import { openFile, readAt } from '../files/files.js';
import type { Content } from './format.js';
import { ENDINGS_IN_WORDS, FORMATS } from './formats.js';
import { isText, otherFormat } from './other-formats.js';

/** Enough of the beginning to tell text from numbers, and to reach the mark of a tar archive. */
const START_BYTES = 512;
/** The table of contents of a zip archive, or the last part of it. */
const END_BYTES = 64 * 1024;
/** How much of a text is quoted. */
const QUOTED = 30;

/**
 * Recognises a file by its first bytes. An unknown file is taken for safetensors, whose reader then reports what is wrong.
 *
 * @throws {@link CheckpointError} kinds `GitLfsPointer`, `TextFile`; {@link LowRankError} `ERR_UNSUPPORTED` for what is
 * known to be something else.
 */
export async function sniff(file: string): Promise<Content> {
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
    return fault('GitLfsPointer', 'is a pointer of Git LFS, not the weights', 'Run `git lfs pull` in the folder.');
  }
  if (/^<(?:!doctype html|html|\?xml)/i.test(text)) {
    const hint =
      'A server probably sent a message in place of the file: download it again, signed in where that is needed.';
    return fault('TextFile', 'is a web page, not the weights', hint);
  }
  const begins = describe(text.slice(0, QUOTED));
  return fault(
    'TextFile',
    `is a text file, which begins with ${begins}, and no checkpoint`,
    `Give a ${ENDINGS_IN_WORDS} file, or the folder of a model.`,
  );
}
