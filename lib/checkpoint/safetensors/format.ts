import { basename, dirname } from 'node:path';
import type { FormatDescription, NamedRange } from '../format.js';
import { openSafetensors } from './checkpoint.js';
import { SafetensorsFile } from './file.js';
import { isIndexName } from './shards.js';
import { sniffSafetensors } from './sniff.js';

const ENDING = '.safetensors';
/**
 * The names of a folder's weights in transformers, one file or the index of several, in the order
 * of its search.
 */
const STANDARD = ['model.safetensors', 'model.safetensors.index.json'];

export const SAFETENSORS: FormatDescription = {
  name: 'safetensors',
  label: 'safetensors',
  ending: ENDING,
  hasModuleNames: true,
  hasAdapters: true,
  sniff: sniffSafetensors,
  models: async (_, names) => {
    const standard = STANDARD.find((name) => names.includes(name));
    if (standard !== undefined) return [standard];
    const indexes = names.filter(isIndexName);
    return indexes.length > 0 ? indexes : names.filter((name) => name.endsWith(ENDING));
  },
  open: (path, file) => openSafetensors(path, { folder: dirname(file), files: [basename(file)], index: undefined }),
  placesIn,
};

async function placesIn(path: string): Promise<readonly NamedRange[]> {
  const file = await SafetensorsFile.open(path);
  await file.close();
  return file.header.tensors.map((span) => ({
    name: span.name,
    offset: file.offset(span),
    bytes: span.end - span.begin,
  }));
}
