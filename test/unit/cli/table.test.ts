import { describe, expect, it } from 'vitest';
import { formatTable, shorten } from '../../../lib/cli/terminal/table.js';

const columns = [{ title: 'tensor' }, { title: 'k', align: 'right' as const }, { title: 'method' }];
const rows = [
  ['model.layers.10.mlp.gate_proj.weight', '40', 'exact'],
  ['model.layers.9.mlp.up_proj.weight', '409', 'exact'],
];

describe('formatTable', () => {
  it('aligns', () => {
    expect(formatTable(columns, rows, undefined)).toEqual([
      'tensor                                  k  method',
      'model.layers.10.mlp.gate_proj.weight   40  exact',
      'model.layers.9.mlp.up_proj.weight     409  exact',
    ]);
  });

  it('never exceeds the terminal', () => {
    for (let width = 1; width < 80; width++) {
      const lines = formatTable(columns, rows, width);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
      expect(lines.length).toBeGreaterThanOrEqual(3);
    }
  });

  it('shortens the names first, then stacks the cells', () => {
    expect(formatTable(columns, rows, 30)[1]).toMatch(/^model\..*\.\.\..*weight +40 {2}exact$/);
    expect(formatTable(columns, rows, 20)).toContain('  k 40');
  });

  it('shows control characters instead of obeying them', () => {
    const [, line] = formatTable([{ title: 'tensor' }], [['a\u001b[2Jb\r\nc\u202ed']], undefined);
    expect(line).toBe('a\\u{1b}[2Jb\\u{d}\\u{a}c\\u{202e}d');
  });
});

describe('shorten', () => {
  it('keeps both ends', () => {
    expect(shorten('abcdefghij', 10)).toBe('abcdefghij');
    expect(shorten('abcdefghij', 8)).toBe('ab...hij');
    expect(shorten('abcdefghij', 2)).toBe('ab');
    expect(shorten('abcdefghij', 0)).toBe('');
  });
});
