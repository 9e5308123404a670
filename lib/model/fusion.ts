import { describe, LowRankError } from '../errors.js';
import type { Range, Slice } from '../tensor/slice.js';
import type { FusedPart } from './families.js';
import { attentionHeads, type Config, hiddenSize, stated } from './sizes.js';

/** The number of attention heads of a layer, and their width. */
interface Heads {
  readonly query: number;
  readonly keyValue: number;
  readonly width: number;
}

/**
 * Returns the rows or columns of a fused tensor that one matrix occupies.
 *
 * @param tensor its name, for messages
 * @throws {@link LowRankError} `ERR_SHAPE` if the tensor's shape contradicts config.json;
 *   `ERR_UNSUPPORTED` if config.json does not state the heads.
 */
export function sliceOfPart(part: FusedPart, tensor: string, shape: readonly number[], config: Config): Slice {
  const length = shape.at(part.axis === 'rows' ? -2 : -1);
  const width = shape.at(part.axis === 'rows' ? -1 : -2);
  if (length === undefined || width === undefined) throw misfit(tensor, `shape ${describe(shape)} is not a matrix`);
  // All fused matrices take the hidden state as input.
  const hidden = hiddenSize(config);
  if (hidden !== undefined && hidden.value !== width) {
    const across = part.axis === 'rows' ? 'columns' : 'rows';
    throw misfit(
      tensor,
      `${width} ${across} of ${describe(shape)}, where config.json states ${hidden.name} ${hidden.value}`,
    );
  }
  const slice: Slice = { axis: part.axis, ranges: ranges(part, tensor, length, config) };
  // If k and v have fewer heads, the parts are not equal, even if the length is divisible by 3.
  if (part.fusion === 'thirds' && length !== 3 * width) {
    throw misfit(tensor, `${length} ${part.axis}, expected 3 x ${width}`);
  }
  return slice;
}

function ranges({ fusion, axis, index }: FusedPart, tensor: string, length: number, config: Config): Range[] {
  if (fusion === 'thirds' || fusion === 'halves') {
    const parts = fusion === 'thirds' ? 3 : 2;
    if (length % parts !== 0) throw misfit(tensor, `${length} ${axis} cannot be split into ${parts} equal parts`);
    const size = length / parts;
    return [[index * size, (index + 1) * size]];
  }

  const { query, keyValue, width } = headsOf(config, tensor);
  if (fusion === 'heads') {
    const sizes = [query * width, keyValue * width, keyValue * width];
    if (sizes[0]! + sizes[1]! + sizes[2]! !== length) {
      throw misfit(tensor, `${length} ${axis} are not ${query} + 2 x ${keyValue} heads of ${width}`);
    }
    const start = sizes.slice(0, index).reduce((sum, size) => sum + size, 0);
    return [[start, start + sizes[index]!]];
  }

  const size = length / (3 * query);
  if (!Number.isInteger(size)) throw misfit(tensor, `${length} ${axis} are not q, k and v of ${query} heads`);
  return Array.from({ length: query }, (_, head) => [(3 * head + index) * size, (3 * head + index + 1) * size]);
}

function headsOf(config: Config, tensor: string): Heads {
  const heads = attentionHeads(config);
  const hidden = hiddenSize(config)?.value;
  if (heads === undefined || hidden === undefined) {
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `${tensor}: q, k and v share this tensor, but config.json does not state their sizes`,
      {
        hint: 'Put config.json beside the weights (num_attention_heads and hidden_size; in GGUF the metadata state them), or edit the whole tensor: attn.',
      },
    );
  }
  return {
    ...heads,
    width: stated(config, ['head_dim'])?.value ?? hidden / heads.query,
  };
}

function misfit(tensor: string, why: string): LowRankError {
  return new LowRankError('ERR_SHAPE', `${tensor}: ${why}`, {
    hint: 'The checkpoint and its config.json belong to different models, or the family is wrong.',
  });
}
