// What the service reads and writes on disk: models of one folder, and small JSON documents.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, realpath, rename, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** A request that cannot be met as it is, with the HTTP status to answer. */
export class Refused extends Error {
  constructor(status, code, message, hint) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

/** The models of a folder: found by relative paths, identified by their content. */
export class Models {
  #digests = new Map();

  constructor(folder) {
    this.folder = folder;
  }

  /**
   * Returns the path of a model, or of a file that belongs to a request.
   *
   * @throws Refused for a path that leads out of the folder, also through a link, or to nothing.
   */
  async find(name) {
    const outside = new Refused(403, 'ERR_OUTSIDE', `${name}: not inside the folder of models`);
    if (isAbsolute(name) || name.includes('\0')) throw outside;
    const root = await realpath(this.folder);
    const path = await realpath(join(root, name)).catch(() => {
      throw new Refused(404, 'ERR_NOT_FOUND', `${name}: no such model`);
    });
    if (!isInside(root, path) || path === root) throw outside;
    return path;
  }

  /** Returns the SHA-256 of a file, or of all files of a folder with their names. */
  async digest(path) {
    const root = await realpath(this.folder);
    const hash = createHash('sha256');
    for (const file of await filesBelow(path)) {
      // A link inside a model may lead to the cache of a downloader, but not out of the folder.
      if (!isInside(root, await realpath(file))) {
        throw new Refused(403, 'ERR_OUTSIDE', `${relative(root, file)}: links to a file outside the folder of models`);
      }
      hash.update(`${relative(path, file)}\0${await this.#digestOf(file)}\0`);
    }
    return hash.digest('hex');
  }

  /** Hashes a file once, as long as its size and times stay the same. */
  async #digestOf(file) {
    const { size, mtimeMs, ctimeMs, ino } = await stat(file);
    const state = [size, mtimeMs, ctimeMs, ino].join();
    const known = this.#digests.get(file);
    if (known?.state === state) return known.digest;
    const hash = createHash('sha256');
    await pipeline(createReadStream(file), hash);
    const digest = hash.digest('hex');
    this.#digests.set(file, { state, digest });
    return digest;
  }
}

/** Lists the files of a folder and its folders in a fixed order; a file lists itself. */
export async function filesBelow(path) {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).sort();
  return (await Promise.all(names.map((name) => filesBelow(join(path, name))))).flat();
}

export function isInside(root, path) {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}

/** Writes a document so that after any crash the file is the old one or the new one. */
export async function writeDocument(path, document) {
  const temporary = `${path}.${process.pid}.tmp`;
  const handle = await open(temporary, 'w');
  try {
    await handle.writeFile(JSON.stringify(document));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), 'r');
  await folder.sync().finally(() => folder.close());
}
