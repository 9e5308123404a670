import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { LowRankError } from '../../errors.js';

/** How to install each optional package, for the hint if it is missing. */
const INSTALL: Readonly<Record<string, string>> = {
  'node-llama-cpp': 'npm install node-llama-cpp',
  'onnxruntime-node': 'npm install onnxruntime-node (with ONNXRUNTIME_NODE_INSTALL=skip if you use no GPU)',
  '@huggingface/tokenizers': 'npm install @huggingface/tokenizers',
  '@huggingface/jinja': 'npm install @huggingface/jinja',
  hyparquet: 'npm install hyparquet',
};

/**
 * Finds an optional package and returns the address of its entry. It is looked up where this
 * package would find it, then where a script in `folder` would: so a package that is installed
 * beside the user's work also serves a global `lowrank`.
 *
 * @throws {@link LowRankError} `ERR_PEER` if it is not installed, with the command to run.
 */
export function findPeer(name: string, folder = process.cwd()): string {
  for (const start of [import.meta.url, pathToFileURL(join(resolve(folder), 'noop.js'))]) {
    for (const modules of createRequire(start).resolve.paths(name) ?? []) {
      const manifest = join(modules, name, 'package.json');
      if (existsSync(manifest)) return pathToFileURL(join(dirname(manifest), entryOf(manifest))).href;
    }
  }
  throw new LowRankError('ERR_PEER', `${name} is not installed, neither beside lowrank nor in ${resolve(folder)}`, {
    hint: `Install it: ${INSTALL[name] ?? `npm install ${name}`}.`,
  });
}

/**
 * Loads an optional package. Throws as {@link findPeer}, and `ERR_PEER` if it is installed but does
 * not load.
 */
export async function importPeer<T>(name: string, folder?: string): Promise<T> {
  const address = findPeer(name, folder);
  try {
    const module = (await import(address)) as T & { default?: T };
    // The exports of a CommonJS package are those of its default; only some of them are also
    // available by name.
    return { ...module.default, ...module };
  } catch (cause) {
    throw new LowRankError('ERR_PEER', `${name} does not load: ${(cause as Error).message}`, {
      hint: `Reinstall it: ${INSTALL[name] ?? `npm install ${name}`}.`,
      cause,
    });
  }
}

/**
 * Returns the file that `import` of a package loads: Node's own function for this needs a flag if
 * the importer is elsewhere.
 */
function entryOf(manifest: string): string {
  const { exports, main } = JSON.parse(readFileSync(manifest, 'utf8')) as { exports?: unknown; main?: string };
  return conditional(isObject(exports) && '.' in exports ? exports['.'] : exports) ?? main ?? 'index.js';
}

/** Returns the first path among the conditions of an import in Node. */
function conditional(target: unknown): string | undefined {
  if (typeof target === 'string') return target;
  if (!isObject(target)) return undefined;
  for (const [condition, inner] of Object.entries(target)) {
    if (!['node', 'import', 'default'].includes(condition)) continue;
    const path = conditional(inner);
    if (path !== undefined) return path;
  }
  return undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
