import { MAX_HEADER_BYTES } from '../../files/limits.js';

/**
 * Whether a file starts like the length of a header. Allowed lengths leave the upper half of its 8
 * bytes zero; no text has zeros there.
 */
export function beginsWithLength(start: Buffer): boolean {
  return start.length >= 8 && start.readUInt32LE(4) === 0;
}

/**
 * Recognises a safetensors file, or the index of several, by the JSON object at its position in
 * either.
 */
export function sniffSafetensors(start: Buffer): 'safetensors' | 'index' | undefined {
  if (!beginsWithLength(start)) return start.toString('latin1').trimStart().startsWith('{') ? 'index' : undefined;
  // The letters of other formats' marks would be a length beyond the limit.
  return start[8] === 0x7b && start.readUInt32LE(0) <= MAX_HEADER_BYTES ? 'safetensors' : undefined;
}
