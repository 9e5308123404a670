import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { searchReport } from '../../lib/report/search-report.js';
import { temporaryFolder } from '../support/folder.js';
import { type Log, madeLog } from '../support/search-log.js';
import { Browser, findChromium, type View } from './browser.js';

const chromium = findChromium();
const skipped = chromium === undefined ? ' (skipped: no chromium; CHROMIUM may say where it is)' : '';

const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 800 };

const LOGS: Readonly<Record<string, Log>> = {
  composed: madeLog(),
  'of 200 trials': madeLog({ layers: 12, types: ['fc_in', 'fc_out'], composed: false, size: 1024 }),
  'of long names': madeLog({
    tensor: ({ layer, type }) => `${'model_'.repeat(60)}${layer}.${type}`,
    source: `/models/${'a'.repeat(120)}/${'b'.repeat(120)}`,
    command: ['lowrank', 'search', 'x'.repeat(3000)],
  }),
  'of perplexity': madeLog({ objective: 'perplexity' }),
  'of all types': madeLog({ layers: 4, types: ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc_in', 'fc_up', 'fc_out'] }),
  'without trials': [madeLog()[0]],
  unfinished: madeLog({ tried: 5, finished: false }),
};

describe.skipIf(chromium === undefined)(`reports in a browser${skipped}`, () => {
  let browser: Browser;
  let folder = '';

  beforeAll(async () => {
    folder = temporaryFolder();
    browser = await Browser.start(chromium!);
  });
  afterAll(async () => {
    await browser?.close();
  });

  const show = async (name: string, log: Log, view: View) => {
    const file = join(folder, `${name.replaceAll(' ', '-')}.html`);
    await writeFile(file, searchReport(log));
    await browser.show(pathToFileURL(file).href, view);
    // To be looked at: SCREENSHOTS=<folder>.
    if (process.env.SCREENSHOTS === undefined) return;
    await mkdir(process.env.SCREENSHOTS, { recursive: true });
    const picture = `${name.replaceAll(' ', '-')}-${view.width}-${view.scheme}.png`;
    await writeFile(join(process.env.SCREENSHOTS, picture), await browser.screenshot());
  };

  for (const [name, log] of Object.entries(LOGS)) {
    for (const size of [PHONE, DESKTOP, { width: 320, height: 640 }]) {
      it(`${name}: nothing is wider than a page of ${size.width}`, async () => {
        for (const scheme of ['light', 'dark'] as const) {
          await show(name, log, { ...size, scheme });
          const { width, wide } = await browser.evaluate<{ width: number; wide: string[] }>(WIDE);
          expect(wide).toEqual([]);
          expect(width).toBe(size.width);
        }
      });
    }
  }

  it('asks for nothing but itself, and keeps its own policy', async () => {
    await show('composed', LOGS.composed!, { ...PHONE, scheme: 'light' });
    expect(browser.requests).toHaveLength(1);
    expect(browser.complaints).toEqual([]);
    expect(await browser.evaluate('document.compatMode')).toBe('CSS1Compat');
    expect(await browser.evaluate('document.scripts.length')).toBe(0);
  });

  it('runs nothing that names bring along', async () => {
    // Without a slash, so that it can be a file's name, which stands in the title.
    const hostile = `"><script>document.title='owned'<svg><img src=x onerror="document.title='owned'">`;
    const log = madeLog({ tensor: () => hostile, source: `/m/${hostile}`, command: ['lowrank', hostile] });
    await show('hostile', log, { ...PHONE, scheme: 'light' });
    expect(await browser.evaluate('document.title')).toContain('<script>');
    expect(await browser.evaluate('document.querySelectorAll("script, img, [onerror]").length')).toBe(0);
    expect(browser.requests).toHaveLength(1);
  });

  it('is dark if the reader prefers it, and every text is readable', async () => {
    const backs: string[] = [];
    for (const scheme of ['light', 'dark'] as const) {
      await show('composed', LOGS.composed!, { ...DESKTOP, scheme });
      const texts = await browser.evaluate<{ words: string; ratio: number }[]>(CONTRAST);
      expect(texts.length).toBeGreaterThan(300);
      expect(texts.filter(({ ratio }) => ratio < 4.5)).toEqual([]);
      backs.push(await browser.evaluate('getComputedStyle(document.body).backgroundColor'));
    }
    expect(backs).toEqual(['rgb(255, 255, 255)', 'rgb(13, 17, 23)']);
  });

  it('shows complete heat maps on a phone', async () => {
    await show('composed', LOGS.composed!, { ...PHONE, scheme: 'light' });
    const cut = 'document.querySelectorAll(".maps .scroll").values().filter((e) => e.scrollWidth > e.clientWidth)';
    expect(await browser.evaluate(`[...${cut}].length`)).toBe(0);
  });
});

/** What reaches over the page's right edge, unless it lies in something that scrolls by itself. */
const WIDE = `(() => {
  const edge = document.documentElement.clientWidth;
  const over = [...document.body.querySelectorAll('*')].filter((element) =>
    element.getBoundingClientRect().right > edge + 0.5 && !element.parentElement.closest('.scroll'));
  return { width: document.documentElement.scrollWidth, wide: over.map((e) => e.outerHTML.slice(0, 200)) };
})()`;

/** The contrast of every text with what is behind it, as WCAG 2 computes it. */
const CONTRAST = `(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parse(colour).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parse(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const words = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    if (words === '' || element.closest('title, desc')) continue;
    const style = getComputedStyle(element);
    const front = element.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(front), light(back(element))].sort((x, y) => y - x);
    found.push({ words, ratio: (a + 0.05) / (b + 0.05) });
  }
  return found;
})()`;
