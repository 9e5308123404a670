import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The bytes of a safetensors file, right or wrong: the length, the header as given, the data. */
export function made(header: string | Uint8Array | object, data: string | Uint8Array = ''): Buffer {
  const text =
    typeof header === 'string' || header instanceof Uint8Array
      ? Buffer.from(header as string)
      : Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.from(data as string)]);
}

/** Writes files into a folder. */
export async function fill(folder: string, files: Record<string, string | Uint8Array>): Promise<void> {
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
}
