import type { Format } from './checkpoint.js';
import type { FormatDescription } from './format.js';
import { GGUF } from './gguf/format.js';
import { ONNX } from './onnx/format.js';
import { SAFETENSORS } from './safetensors/format.js';

const BY_NAME: Readonly<Record<Format, FormatDescription>> = {
  safetensors: SAFETENSORS,
  gguf: GGUF,
  onnx: ONNX,
};

/** The supported formats. If a folder holds several, the first one counts. */
export const FORMATS: readonly FormatDescription[] = Object.values(BY_NAME);

/** `safetensors, GGUF or ONNX` */
export const FORMATS_IN_WORDS = alternatives(FORMATS.map(({ label }) => label));

/** `.safetensors, .gguf or .onnx` */
export const ENDINGS_IN_WORDS = alternatives(FORMATS.map(({ ending }) => ending));

export function formatNamed(name: Format): FormatDescription {
  return BY_NAME[name];
}

function alternatives(words: readonly string[]): string {
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}
