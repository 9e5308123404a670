import { describe, LowRankError } from '../../errors.js';
import type { ByteRange, Checkpoint, FileLayout, NewTensorInfo, TensorChange } from '../checkpoint.js';
import { inPlaceLayout, unknownTensor } from '../layout.js';
import { PartList } from '../parts.js';
import type { SafetensorsFile } from './file.js';
import {
  checkDescription,
  formatHeader,
  isDType,
  referenceOrder,
  type TensorLayout,
  type TensorSpan,
} from './header.js';
import { formatIndex, type Index } from './shards.js';

/** The tensors of the copy that replace one tensor of the source. */
type Replacements = ReadonlyMap<string, readonly TensorLayout[]>;

/**
 * Lays out the files of a copy in which tensors change. A file whose tensors keep their types keeps
 * its layout, with the edited tensors in place. The others are written as the reference writes
 * them, with the new tensors in the files of those that they replace; the index of a sharded
 * checkpoint lists the new tensors.
 *
 * @param index of a sharded checkpoint
 * @throws as {@link Checkpoint.layout}
 */
export function safetensorsLayout(
  checkpoint: Pick<Checkpoint, 'path' | 'format' | 'tensors'>,
  files: ReadonlyMap<string, SafetensorsFile>,
  index: Index | undefined,
  changes: ReadonlyMap<string, TensorChange>,
): readonly FileLayout[] {
  const replacements = replacementsIn(checkpoint, changes);
  const rewritten = new Set([...replacements.keys()].map((name) => checkpoint.tensors.get(name)!.file));
  const kept = [...changes.keys()].filter((name) => !replacements.has(name));
  const inPlace = inPlaceLayout(checkpoint, new Map(kept.map((name) => [name, checkpoint.tensors.get(name)!.dtype])));
  const layouts = inPlace.map((layout) =>
    rewritten.has(layout.file)
      ? rewrittenFile(layout.file, files.get(layout.file)!, new Set(layout.places.keys()), replacements)
      : layout,
  );
  if (index === undefined || rewritten.size === 0) return layouts;
  const text = formatIndex(index, checkpoint.tensors, replacements);
  return [...layouts, { file: index.file, parts: [{ kind: 'bytes', data: Buffer.from(text) }], places: new Map() }];
}

/** Finds the changes that do not fit a tensor's place in the file. */
function replacementsIn(
  checkpoint: Pick<Checkpoint, 'path' | 'tensors'>,
  changes: ReadonlyMap<string, TensorChange>,
): Replacements {
  const replacements = new Map<string, readonly TensorLayout[]>();
  for (const [name, change] of changes) {
    const info = checkpoint.tensors.get(name);
    if (info === undefined) throw unknownTensor(checkpoint, name);
    if ('by' in change) {
      replacements.set(name, change.by.map(describedTensor));
    } else if (change.as !== info.dtype) {
      replacements.set(name, [describedTensor({ name, dtype: change.as, shape: info.shape })]);
    }
  }
  const taken = new Set([...checkpoint.tensors.keys()].filter((name) => !replacements.has(name)));
  for (const { name } of [...replacements.values()].flat()) {
    if (taken.has(name)) {
      throw new LowRankError('ERR_ARGUMENT', `tensor ${describe(name)}: another tensor has this name`, {
        hint: 'Give each new tensor a name that the checkpoint does not have.',
      });
    }
    taken.add(name);
  }
  return replacements;
}

function describedTensor({ name, dtype, shape }: NewTensorInfo): TensorLayout {
  if (!isDType(dtype)) {
    throw new LowRankError('ERR_UNSUPPORTED', `${name}: safetensors files cannot hold ${dtype}`, {
      hint: 'Choose F16, BF16 or F32.',
    });
  }
  const bits = checkDescription(name, dtype, shape);
  if (bits % 8n !== 0n) {
    const message = `tensor ${describe(name)}: ${dtype} of shape ${describe(shape)} does not fill whole bytes`;
    throw new LowRankError('ERR_SHAPE', message);
  }
  return { name, dtype, shape, bytes: Number(bits / 8n) };
}

function rewrittenFile(
  name: string,
  file: SafetensorsFile,
  edited: ReadonlySet<string>,
  replacements: Replacements,
): FileLayout {
  const spans = new Map<TensorLayout, TensorSpan>();
  const tensors = file.header.tensors.flatMap((span): readonly TensorLayout[] => {
    const replacement = replacements.get(span.name);
    if (replacement !== undefined) return replacement;
    const tensor = { ...span, bytes: span.end - span.begin };
    if (!edited.has(span.name)) spans.set(tensor, span);
    return [tensor];
  });
  const ordered = [...tensors].sort(referenceOrder);
  const parts = new PartList();
  const places = new Map<string, ByteRange>();
  parts.bytes(formatHeader(ordered, file.header.metadata, file.file));
  for (const tensor of ordered) {
    const span = spans.get(tensor);
    if (span !== undefined) {
      parts.copy(name, file.offset(span), tensor.bytes);
    } else {
      places.set(tensor.name, { offset: parts.end, bytes: tensor.bytes });
      parts.tensor(tensor.name, tensor.bytes);
    }
  }
  return { file: name, parts: parts.parts, places };
}
