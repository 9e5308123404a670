import { describe, LowRankError } from '../errors.js';
import type { Range, Slice } from '../tensor/slice.js';
import type { FusedPart } from './families/family.js';
import { attentionHeads, type Config, hiddenSize, latentHeads, type Stated, stated } from './sizes.js';

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
  const input = inputSize(part, config);
  if (input !== undefined && input.value !== width) {
    const across = part.axis === 'rows' ? 'columns' : 'rows';
    throw misfit(
      tensor,
      `${width} ${across} of ${describe(shape)}, where config.json states ${input.name} ${input.value}`,
    );
  }
  const slice: Slice = { axis: part.axis, ranges: ranges(part, tensor, length, config) };
  // If k and v have fewer heads, the parts are not equal, even if the length is divisible by 3.
  if (part.fusion === 'thirds' && length !== 3 * width) {
    throw misfit(tensor, `${length} ${part.axis}, expected 3 x ${width}`);
  }
  return slice;
}

/** Fused matrices take the hidden state as input, or the latent vector that comes from it. */
function inputSize({ fusion }: FusedPart, config: Config): Stated | undefined {
  return fusion === 'latent' ? latentHeads(config)?.latent : hiddenSize(config);
}

function ranges({ fusion, axis, index }: FusedPart, tensor: string, length: number, config: Config): Range[] {
  const misfitting = (parts: string) => misfit(tensor, `${length} ${axis} ${parts}`);
  switch (fusion) {
    case 'thirds':
    case 'halves': {
      const parts = fusion === 'thirds' ? 3 : 2;
      if (length % parts !== 0) throw misfitting(`cannot be split into ${parts} equal parts`);
      const size = length / parts;
      return [[index * size, (index + 1) * size]];
    }
    case 'alternating':
      if (length % 2 !== 0) throw misfitting('are not pairs');
      return Array.from({ length: length / 2 }, (_, pair) => [2 * pair + index, 2 * pair + index + 1]);
    case 'heads':
    case 'interleaved': {
      const { query, keyValue, width } = headsOf(config, tensor);
      const sizes = [query * width, keyValue * width, keyValue * width];
      const fits = sizes.every(Number.isInteger) && sizes[0]! + sizes[1]! + sizes[2]! === length;
      if (!fits) throw misfitting(`are not ${query} + 2 x ${keyValue} heads of ${width}`);
      if (fusion === 'heads') return inTurn(sizes, index, 1);
      const each = sizes.map((size) => size / keyValue);
      if (!each.every(Number.isInteger)) throw misfitting(`are not q, k and v of ${keyValue} heads`);
      return inTurn(each, index, keyValue);
    }
    case 'latent': {
      const [heads, widths] = [attentionHeads(config)?.query, latentHeads(config)];
      if (heads === undefined || widths === undefined) {
        throw unstated(tensor, 'k and v', 'num_attention_heads, qk_nope_head_dim and v_head_dim');
      }
      const { key, value } = widths;
      if (heads * (key + value) !== length) throw misfitting(`are not ${heads} heads of ${key} + ${value}`);
      return inTurn([key, value], index, heads);
    }
  }
}

/** Returns the ranges of one of some parts that follow each other, all of them `times` times. */
function inTurn(sizes: readonly number[], index: number, times: number): Range[] {
  const all = sizes.reduce((sum, size) => sum + size, 0);
  const start = sizes.slice(0, index).reduce((sum, size) => sum + size, 0);
  return Array.from({ length: times }, (_, turn) => [turn * all + start, turn * all + start + sizes[index]!]);
}

function headsOf(config: Config, tensor: string): Heads {
  const heads = attentionHeads(config);
  const hidden = hiddenSize(config)?.value;
  if (heads === undefined || hidden === undefined) {
    throw unstated(tensor, 'q, k and v', 'num_attention_heads and hidden_size');
  }
  return {
    ...heads,
    width: stated(config, ['head_dim'])?.value ?? hidden / heads.query,
  };
}

function unstated(tensor: string, matrices: string, numbers: string): LowRankError {
  return new LowRankError(
    'ERR_UNSUPPORTED',
    `${tensor}: ${matrices} share this tensor, but config.json does not state their sizes`,
    {
      hint: `Put config.json beside the weights (${numbers}; in GGUF the metadata state them), or edit the whole tensor: attn.`,
    },
  );
}

function misfit(tensor: string, why: string): LowRankError {
  return new LowRankError('ERR_SHAPE', `${tensor}: ${why}`, {
    hint: 'The checkpoint and its config.json belong to different models, or the family is wrong.',
  });
}
