import { describe, expect, it } from 'vitest';
import { momentsName } from '../../../lib/compress/moments-name.js';

describe('the name of a weight in a file of moments', () => {
  const find = (weights: readonly string[], ...names: readonly string[]) => momentsName(new Set(weights), names);

  it('is the first of its own that the file has', () => {
    expect(find(['b', 'c'], 'a', 'b', 'c')).toBe('b');
    expect(find(['model.h.0.fc.weight', 'h.0.fc.weight'], 'h.0.fc.weight')).toBe('h.0.fc.weight');
  });

  it('may differ in what wraps the model', () => {
    const weight = 'transformer.h.0.mlp.c_fc.weight';
    expect(find([`model.${weight}`], weight)).toBe(`model.${weight}`);
    expect(find([weight], `model.${weight}`)).toBe(weight);
    expect(find(['h.0.mlp.c_fc.weight', 'h.1.mlp.c_fc.weight'], weight)).toBe('h.0.mlp.c_fc.weight');
    expect(find(['bert.encoder.layer.0.output.dense.weight'], 'encoder.layer.0.output.dense.weight')).toBeDefined();
  });

  it('is not one of another part, nor one of several', () => {
    expect(find(['block.0.q.weight'], 'encoder.block.0.q.weight')).toBeUndefined();
    expect(find(['decoder.block.0.q.weight'], 'encoder.block.0.q.weight')).toBeUndefined();
    expect(find(['model.h.0.weight', 'module.h.0.weight'], 'h.0.weight')).toBeUndefined();
    expect(find(['model.weight'], 'bert.weight')).toBeUndefined();
  });
});
