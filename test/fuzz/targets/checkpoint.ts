import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Checkpoint, FileLayout } from '../../../lib/checkpoint/checkpoint.js';
import { open } from '../../../lib/checkpoint/open.js';
import { parseHeader } from '../../../lib/checkpoint/safetensors/header.js';
import { LowRankError } from '../../../lib/errors.js';
import { checkpointModel } from '../model.js';
import { require } from '../target.js';

/** Tensors that are read in full; more of them would only take time. */
const READ = 20;
const MOST_BYTES = 1 << 22;

/** Puts files into the folder, which holds nothing else afterwards. */
export async function fill(folder: string, files: Readonly<Record<string, Uint8Array | string>>): Promise<void> {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), content);
  }
}

/**
 * Opens a checkpoint and holds what it says of itself against its files; answers with the verdict.
 */
export async function openAndRead(path: string, folder: string): Promise<string> {
  return coded(async () => {
    const checkpoint = await open(path);
    try {
      let count = 0;
      for (const { name, file, offset, bytes, shape } of checkpoint.tensors.values()) {
        require(Number.isSafeInteger(offset) && offset >= 0 && bytes >= 0, `${name}: at ${offset}, ${bytes} bytes`);
        if (bytes > 0) await requireRoom(checkpoint, name, folder, file);
        requireReplaceable(checkpoint, name, file);
        require(shape.every((side) => Number.isSafeInteger(side) && side >= 0), `${name}: shape ${shape}`);
        if (count++ >= READ || bytes > MOST_BYTES) continue;
        const read = await checkpoint.read(name);
        require(read.byteLength === bytes, `${name}: ${read.byteLength} bytes were read, ${bytes} promised`);
      }
      for (const { parts, places } of checkpoint.layout(new Map())) {
        require(places.size === 0, 'a place for a tensor that nobody edits');
        for (const part of parts ?? []) {
          if (part.kind !== 'copy') continue;
          const { size } = await stat(join(folder, part.file));
          require(part.offset >= 0 && part.offset + part.bytes <= size, `a copy of what is not in ${part.file}`);
        }
      }
      return `${checkpoint.format}, ${Math.min(count, 3)} tensors, ${checkpointModel(checkpoint)}`;
    } finally {
      await checkpoint.close();
    }
  });
}

/** Where an edited tensor of the same type would go, its file must have room for it. */
async function requireRoom(checkpoint: Checkpoint, name: string, folder: string, file: string): Promise<void> {
  let layout: readonly FileLayout[];
  try {
    layout = checkpoint.layout(new Map([[name, { as: checkpoint.tensors.get(name)!.dtype }]]));
  } catch (error) {
    if (error instanceof LowRankError) return;
    throw error;
  }
  const { parts, places } = layout.find((one) => one.file === file)!;
  const place = places.get(name)!;
  const size = parts?.reduce((sum, part) => sum + (part.kind === 'bytes' ? part.data.length : part.bytes), 0);
  const end = size ?? (await stat(join(folder, file))).size;
  require(place.offset + place.bytes <= end, `${name}: ends at ${place.offset + place.bytes} of ${end} bytes`);
}

/** The header of a copy in which two tensors replace one must be one that our reader accepts. */
function requireReplaceable(checkpoint: Checkpoint, name: string, file: string): void {
  if (checkpoint.format !== 'safetensors') return;
  const by = ['a', 'b'].map((factor) => ({ name: `${name}.${factor}`, dtype: 'F16' as const, shape: [3, 2] }));
  let layout: readonly FileLayout[];
  try {
    layout = checkpoint.layout(new Map([[name, { by }]]));
  } catch (error) {
    if (error instanceof LowRankError) return;
    throw error;
  }
  const { parts, places } = layout.find((one) => one.file === file)!;
  const size = parts!.reduce((sum, part) => sum + (part.kind === 'bytes' ? part.data.length : part.bytes), 0);
  const start = Buffer.concat(parts!.slice(0, 1).map((part) => (part.kind === 'bytes' ? part.data : Buffer.alloc(0))));
  require(start.length > 8, `${name}: a copy that does not begin with a header`);
  const length = 8 + Number(start.readBigUInt64LE());
  const { tensors } = parseHeader(start.subarray(8, length), size, file);
  for (const { name } of by) {
    const span = tensors.find((tensor) => tensor.name === name)!;
    const place = places.get(name);
    require(place?.offset === length + span.begin && place.bytes === 12, `${name}: has no place where its header says`);
  }
}

/**
 * The answer, or the code and kind of the package's own error, with the words of its message that
 * do not vary.
 */
export async function coded(action: () => Promise<string>): Promise<string> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof LowRankError)) throw error;
    const { kind = '' } = error as { kind?: string };
    const words = error.message.replace(/"(?:[^"\\]|\\.)*"|\/\S*|[\d.]+/g, '').slice(0, 120);
    return `${error.code} ${kind} ${words}`;
  }
}

/** What our parser takes, JSON's own must read in the same way. */
export function agreeWithJson(file: Uint8Array): void {
  const length = file.length < 8 ? 0 : Number(Buffer.from(file.buffer, file.byteOffset, 8).readBigUInt64LE());
  const text = file.subarray(8, 8 + length);
  let names: string[];
  try {
    names = parseHeader(text, file.length - 8 - length, 'file').tensors.map(({ name }) => name);
  } catch {
    return;
  }
  const keys = Object.keys(JSON.parse(Buffer.from(text).toString('utf8'))).filter((key) => key !== '__metadata__');
  require(names.sort().join('\n') === keys.sort().join('\n'), `names ${names} and ${keys}`);
}
