import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { element, shortened } from '../../../lib/report/html.js';
import { change, shortChange, shortChangeText, significant, small, value } from '../../../lib/report/numbers.js';
import { shellWords } from '../../../lib/report/shell.js';
import { DARK, LIGHT } from '../../../lib/report/style.js';
import { printable } from '../../../lib/text/printable.js';
import { named, parseHtml, textOf } from './html-parser.js';

describe('markup', () => {
  it('any text is read back from the page unchanged, in elements and attributes, except for unprintable characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const [p] = named(
          parseHtml(`<!doctype html>${element('p', { title: text }, text, element('b', {}, text)).markup}`),
          'p',
        );
        expect(p!.attributes.get('title')).toBe(printable(text));
        expect(textOf(p!)).toBe(printable(text).repeat(2));
      }),
    );
  });

  it('knows no way around the escaping', () => {
    expect(element('p', {}, `<a href="x" title='y'>&amp;`).markup).toBe(
      '<p>&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;</p>',
    );
    expect(element('p', {}, ['<', [1, undefined, element('b', {}, '&')]]).markup).toBe('<p>&lt;1<b>&amp;</b></p>');
    expect(element('td', { class: undefined, hidden: true, tabindex: 0 }).markup).toBe('<td hidden tabindex="0"></td>');
  });

  it('shortens very long names in the middle, with the omitted length', () => {
    expect(shortened('a'.repeat(160))).toBe('a'.repeat(160));
    expect(shortened(`${'a'.repeat(80)}bbb${'c'.repeat(80)}`)).toBe(
      `${'a'.repeat(80)} [3 characters] ${'c'.repeat(80)}`,
    );
    expect(
      [...shortened('\u{1f600}'.repeat(1000))].every(
        (character) => character.codePointAt(0)! < 0xd800 || character.codePointAt(0)! > 0xdfff,
      ),
    ).toBe(true);
  });
});

describe('commands', () => {
  const bash = spawnSync('bash', ['--version']).status === 0;

  it.skipIf(!bash)(`a shell reads the words that were typed${bash ? '' : ' (skipped: no bash)'}`, () => {
    const words = fc.array(
      fc.string({ unit: 'grapheme' }).filter((word) => !word.includes('\0')),
      { maxLength: 20 },
    );
    const hard = [
      "it's",
      '',
      ' ',
      '$HOME `id` $(id) !x',
      'a\nb\tc\\',
      '\u202e\u200b"',
      '*?[x]{a,b}',
      '~',
      '#',
      '-n',
      "\u0001'\\",
    ];
    fc.assert(
      fc.property(words, (own) => {
        const all = [...hard, ...own];
        const script = `for word in ${shellWords(all).join(' ')}; do printf '%s\\0' "$word"; done`;
        const { stdout } = spawnSync('bash', ['-c', script], {
          encoding: 'utf8',
          env: { ...process.env, LC_ALL: 'C.UTF-8' },
        });
        expect(stdout.split('\0').slice(0, -1)).toEqual(all);
      }),
      { numRuns: 30 },
    );
  });

  it('are one line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (word) => {
        expect(shellWords([word])[0]).not.toMatch(/[\n\r\u2028\u2029]/);
      }),
    );
  });
});

describe('numbers', () => {
  const shown = (content: unknown) => (content as { markup: string }).markup;

  it('stand beside their exact value', () => {
    expect(shown(value('accuracy', 0.98754321))).toBe('<data value="0.98754321">98.75 %</data>');
    expect(shown(change('accuracy', -0.05))).toBe('<data value="-0.05">−5.00</data>');
    expect(shown(change('logLoss', 0.12345))).toBe('<data value="0.12345">+0.1235</data>');
    expect(shown(change('perplexity', 0))).toBe('<data value="0">0</data>');
    expect(shown(shortChange('perplexity', 1234))).toBe('<data value="1234">+1234</data>');
    const short = [0.123, 1.25, 56.7, 99.6, 123456, 0.00123].map((x) => shortChangeText('perplexity', -x));
    expect(short).toEqual(['−0.12', '−1.3', '−57', '−100', '−1e5', '−1e-3']);
    expect(shown(value('perplexity', Number.POSITIVE_INFINITY))).toContain('>∞<');
    expect(shown(change('logLoss', Number.NEGATIVE_INFINITY))).toContain('>−∞<');
    expect(value('accuracy', undefined)).toBeUndefined();
  });

  it('are as many digits as are worth it', () => {
    expect([12.3456789, 1234567, 1e-7, 0].map(significant)).toEqual(['12.346', '1.235e6', '1.000e-7', '0.0000']);
    expect([0.9126704, 1.234e-7, -3e-9, 0].map(small)).toEqual(['0.913', '1.23e-7', '−3.00e-9', '0']);
  });
});

describe('colours', () => {
  const light = (colour: string) => {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const c = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a: string, b: string) => {
    const [dark, bright] = [light(a), light(b)].sort((x, y) => x - y) as [number, number];
    return (bright + 0.05) / (dark + 0.05);
  };

  it.each(Object.entries({ LIGHT, DARK }))('%s: every text can be read on what is behind it', (_, scheme) => {
    const { page, panel, text, quiet, accent, steps } = scheme;
    for (const back of [page, panel]) {
      for (const front of [text, quiet, accent]) expect(contrast(front, back)).toBeGreaterThan(4.5);
    }
    for (const [back, front] of [...steps.better, ...steps.worse]) expect(contrast(front, back)).toBeGreaterThan(4.5);
  });

  it.each(Object.entries({ LIGHT, DARK }))(
    '%s: each step differs more from the page than the one before',
    (_, scheme) => {
      for (const side of [scheme.steps.better, scheme.steps.worse]) {
        const distances = side.map(([back]) => contrast(back, scheme.page));
        expect(distances).toEqual([...distances].sort((a, b) => a - b));
        expect(distances.at(-1)! / distances[0]!).toBeGreaterThan(3);
      }
    },
  );

  it.each(Object.entries({ LIGHT, DARK }))('%s: who sees no red or no green tells better from worse', (_, scheme) => {
    // Machado, Oliveira and Fernandes 2009, severity 1, on linear light.
    const blind = {
      protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
      deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
    };
    const seen = (colour: string, m: readonly number[]) => {
      const rgb = [1, 3, 5].map((at) => (Number.parseInt(colour.slice(at, at + 2), 16) / 255) ** 2.2);
      return [0, 3, 6].map(
        (row) => Math.max(0, m[row]! * rgb[0]! + m[row + 1]! * rgb[1]! + m[row + 2]! * rgb[2]!) ** (1 / 2.2),
      );
    };
    for (const matrix of Object.values(blind)) {
      for (const [better] of scheme.steps.better) {
        for (const [worse] of scheme.steps.worse) {
          const [a, b] = [seen(better, matrix), seen(worse, matrix)];
          // More blue than yellow, or less: the axis that both keep.
          const blueness = ([red, green, blue]: number[]) => blue! - (red! + green!) / 2;
          expect(blueness(a) - blueness(b)).toBeGreaterThan(0.05);
        }
      }
    }
  });
});
