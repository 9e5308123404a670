import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ArgumentError } from '../../../lib/errors.js';
import { asKind } from '../../../lib/interventions/kinds/kinds.js';
import { paperIntervention, parseAt, parseTensorSpec } from '../../../lib/interventions/spec.js';

describe('parseAt', () => {
  it.each([
    ['26:fc_in:0.01', [26], ['fc_in'], 0.01],
    ['20-23:mlp:0.1', [20, 21, 22, 23], ['mlp'], 0.1],
    ['7,0,2,5-7:q_proj,k_proj:.5', [0, 2, 5, 6, 7], ['q_proj', 'k_proj'], 0.5],
    ['all:fc_out:1', 'all', ['fc_out'], 1],
    ['3:attn,attn:0', [3], ['attn'], 0],
    ['3:dont:1e-2', [3], ['dont'], 0.01],
  ])('reads %s', (spec, layers, types, rankFraction) => {
    expect(parseAt(spec)).toEqual({
      kind: 'rank-reduction',
      select: { layers, types },
      amount: { rankFraction },
      spec,
    });
  });

  it.each([
    ['3:fc_in:rho=0.1', { rankFraction: 0.1 }],
    ['3:fc_in:rate=9.9', { rate: 9.9 }],
    ['3:fc_in:k=40', { rank: 40 }],
    ['3:fc_in:k=0', { rank: 0 }],
    ['3:fc_in:energy=0.95', { energy: 0.95 }],
    ['3:fc_in:energy=1', { energy: 1 }],
  ])('reads the amount of %s', (spec, amount) => {
    expect(parseAt(spec).amount).toEqual(amount);
  });

  it('takes of each kind the amounts that it can keep', () => {
    expect(parseAt('3:fc_in:k=4', 'bottom').amount).toEqual({ rank: 4 });
    expect(parseAt('3:fc_in:k=4', 'random').amount).toEqual({ rank: 4 });
    expect(() => parseAt('3:fc_in:energy=0.9', 'bottom')).toThrow('k=40');
    expect(() => parseAt('3:fc_in:k=4', 'dropout')).toThrow('rho, the share to keep');
    expect(() => parseAt('3:fc_in:k=4', 'band')).toThrow(ArgumentError);
  });

  it.each([
    ['1:gate_proj:0.1', '(did you mean `fc_in` or `shared_in`?)'],
    ['1:down_proj:0.1', '(did you mean `fc_out` or `shared_out`?)'],
    ['1:o_proj:0.1', '(did you mean `out_proj`?)'],
    ['1:c_proj:0.1', '(did you mean `out_proj` or `fc_out`?)'],
    ['1:c_attn:0.1', '(did you mean `attn`?)'],
    ['1:Wqkv:0.1', '(did you mean `attn`?)'],
    ['1:query:0.1', '(did you mean `q_proj`?)'],
    ['1:FC_IN:0.1', '(did you mean `fc_in`?)'],
    ['1:fcin:0.1', '(did you mean `fc_in`?)'],
    ['1:mpl:0.1', '(did you mean `mlp`?)'],
  ])('suggests the type that %s means', (spec, suggestion) => {
    expect(() => parseAt(spec)).toThrow(suggestion);
  });

  it.each([
    ['', 'layers:types:rho'],
    ['26', 'layers:types:rho'],
    ['26:fc_in', 'layers:types:rho'],
    ['26:fc_in:0.1:x', 'layers:types:rho'],
    ['-:fc_in:0.1', 'a number, a range'],
    ['..:fc_in:0.1', 'a number, a range'],
    ['-2..-3:fc_in:0.1', 'a number, a range'],
    ['-1--2:fc_in:0.1', 'a number, a range'],
    ['first:fc_in:0.1', 'a number, a range'],
    ['-100000:fc_in:0.1', 'a number, a range'],
    ['7-5:fc_in:0.1', 'a number, a range'],
    ['1,:fc_in:0.1', 'a number, a range'],
    [' 1:fc_in:0.1', 'a number, a range'],
    ['0-999999:fc_in:0.1', 'a number, a range'],
    ['0x1:fc_in:0.1', 'a number, a range'],
    ['1::0.1', 'one of dont, q_proj'],
    ['1:fc_in,:0.1', 'one of dont, q_proj'],
    ['1:FC_IN:0.1', 'one of dont, q_proj'],
    ['1:fc_in:', 'from 0 to 1'],
    ['1:fc_in:1.01', 'from 0 to 1'],
    ['1:fc_in:-0.1', 'from 0 to 1'],
    ['1:fc_in:NaN', 'from 0 to 1'],
    ['1:fc_in:0x1', 'from 0 to 1'],
    ['1:fc_in:0.1 ', 'from 0 to 1'],
    ['1:fc_in:k=', 'k=40'],
    ['1:fc_in:k=-1', 'k=40'],
    ['1:fc_in:k=4.5', 'k=40'],
    ['1:fc_in:energy=2', 'energy=0.95'],
    ['1:fc_in:rank=4', 'k=40'],
    ['1:fc_in:toString=4', 'k=40'],
  ])('refuses %j and names what was expected', (spec, expected) => {
    expect(() => parseAt(spec)).toThrow(ArgumentError);
    expect(() => parseAt(spec)).toThrow(expected);
  });

  it('needs no share for zeroing', () => {
    expect(parseAt('3:fc_in', 'zero')).toMatchObject({ kind: 'zero', select: { layers: [3], types: ['fc_in'] } });
    expect(parseAt('3:fc_in:0.5', 'zero')).toMatchObject({ kind: 'zero', select: { layers: [3], types: ['fc_in'] } });
    expect(() => parseAt('3:fc_in', 'dropout')).toThrow(ArgumentError);
  });

  it('throws nothing but its own error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9,.-]{0,9}:[a-z_,]{0,9}:[0-9.e=k-]{0,5}$/)), (spec) => {
        try {
          const { amount } = parseAt(spec);
          const [value] = Object.values(amount) as [number];
          expect('rank' in amount ? Number.isSafeInteger(value) : value >= 0 && value <= 1).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(ArgumentError);
        }
      }),
    );
  });
});

describe('parseTensorSpec', () => {
  it('takes the last colon', () => {
    expect(parseTensorSpec('blocks.*.w:0.25')).toMatchObject({
      select: { glob: 'blocks.*.w' },
      amount: { rankFraction: 0.25 },
    });
    expect(parseTensorSpec('a:b:0.5')).toMatchObject({ select: { glob: 'a:b' }, amount: { rankFraction: 0.5 } });
    expect(parseTensorSpec('a:b', 'zero')).toMatchObject({ select: { glob: 'a:b' } });
    expect(parseTensorSpec('a.*:0.5', 'zero')).toMatchObject({ select: { glob: 'a.*' } });
  });

  it.each(['', 'name', ':0.5', 'name:', 'name:2'])('refuses %j', (spec) => {
    expect(() => parseTensorSpec(spec)).toThrow(ArgumentError);
  });
});

describe('paperIntervention', () => {
  it('means all layers by -1', () => {
    expect(paperIntervention({ lnum: -1, lname: 'fc_in', rate: 9.9 })).toEqual({
      kind: 'rank-reduction',
      select: { layers: 'all', types: ['fc_in'] },
      amount: { rate: 9.9 },
      spec: '--lnum -1 --lname fc_in --rate 9.9',
    });
    expect(paperIntervention({ lnum: 26, lname: 'dont', rate: 0 }, 'dropout')).toMatchObject({
      kind: 'dropout',
      select: { layers: [26], types: ['dont'] },
    });
  });

  it.each([
    [{ lnum: -2, lname: 'fc_in', rate: 1 }, 'lnum'],
    [{ lnum: 0.5, lname: 'fc_in', rate: 1 }, 'lnum'],
    [{ lnum: 1, lname: 'None', rate: 1 }, 'lname'],
    [{ lnum: 1, lname: 'fc_in', rate: -0.1 }, 'rate'],
    [{ lnum: 1, lname: 'fc_in', rate: 10.1 }, 'rate'],
    [{ lnum: 1, lname: 'fc_in', rate: Number.NaN }, 'rate'],
  ])('refuses %j, naming %s', (flags, argument) => {
    expect(() => paperIntervention(flags)).toThrow(expect.objectContaining({ argument }));
  });
});

describe('asKind', () => {
  it('knows the three', () => {
    expect(asKind('dropout')).toBe('dropout');
    expect(() => asKind('uv')).toThrow('rank-reduction, dropout, zero');
  });
});
