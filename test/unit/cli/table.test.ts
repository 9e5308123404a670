import { describe, expect, it } from 'vitest';
import { type MatrixRow, printMatrices } from '../../../lib/cli/terminal/matrix-table.js';
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

  it('drops columns before it shortens names, the least needed first, and says so', () => {
    const optional = [columns[0]!, { title: 'k', align: 'right' as const, drop: 2 }, { title: 'method', drop: 1 }];
    expect(formatTable(optional, rows, 60).length).toBe(3);
    expect(formatTable(optional, rows, 48)).toEqual([
      'tensor                                  k',
      'model.layers.10.mlp.gate_proj.weight   40',
      'model.layers.9.mlp.up_proj.weight     409',
      '(no room: method)',
    ]);
    expect(formatTable(optional, rows, 38).at(-1)).toBe('(no room: method, k)');
  });

  it('leaves out what all names begin and end with before anything else, and says so', () => {
    const named = [{ title: 'tensor', names: true }, { title: 'k', align: 'right' as const, drop: 1 }, columns[2]!];
    expect(formatTable(named, rows, 48)).toEqual([
      'names: model.layers.<name>.weight',
      'tensor              k  method',
      '10.mlp.gate_proj   40  exact',
      '9.mlp.up_proj     409  exact',
    ]);
    expect(formatTable(named, rows.slice(0, 1), 45)[1]).toBe('model.layers.10.mlp.gate_proj.weight  exact');
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

describe('printMatrices', () => {
  const shown = (rows: readonly MatrixRow[], width: number | undefined) => {
    const lines: string[] = [];
    const output = {
      columns: width,
      colors: { bold: (text: string) => text },
      lines: (more: string[]) => lines.push(...more),
    };
    printMatrices([{ title: 'shape' }, { title: 'energy kept', align: 'right' }], rows, output as never);
    return lines;
  };
  const row = (name: string, layer: number, types: readonly string[]): MatrixRow => {
    return { name, layer, types, cells: ['4096 x 14336', '98.76 %'] };
  };
  const llama = [
    row('model.layers.30.mlp.down_proj.weight', 30, ['fc_out']),
    row('model.layers.31.mlp.down_proj.weight', 31, ['fc_out']),
    row('model.layers.31.self_attn.qkv_proj.weight', 31, ['q_proj', 'k_proj', 'v_proj']),
  ];

  it('shows whole names where they have room', () => {
    for (const width of [undefined, 80]) {
      expect(shown(llama, width)[1]).toBe('model.layers.30.mlp.down_proj.weight       4096 x 14336      98.76 %');
    }
  });

  it('tells rows apart by layer and type where they have not', () => {
    expect(shown(llama, 50)).toEqual([
      'layer  type        shape         energy kept',
      '   30  fc_out      4096 x 14336      98.76 %',
      '   31  fc_out      4096 x 14336      98.76 %',
      '   31  q,k,v_proj  4096 x 14336      98.76 %',
      '(no room: tensor)',
    ]);
  });

  it('leaves out what all names have in common, and says what it was', () => {
    const experts = [0, 1].map((i) => row(`model.layers.7.mlp.experts.${i}.down_proj.weight`, 7, ['fc_out']));
    expect(shown(experts, 60)).toEqual([
      'names: model.layers.7.mlp.experts.<name>.down_proj.weight',
      'tensor  layer  type    shape         energy kept',
      '0           7  fc_out  4096 x 14336      98.76 %',
      '1           7  fc_out  4096 x 14336      98.76 %',
    ]);
  });

  it('never exceeds the terminal', () => {
    for (let width = 1; width < 90; width++) {
      expect(Math.max(...shown(llama, width).map((line) => line.length))).toBeLessThanOrEqual(width);
    }
  });
});
