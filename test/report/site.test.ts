import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../support/folder.js';
import { Browser, findChromium, type View } from './browser.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const chromium = findChromium();
const skipped = chromium === undefined ? ' (skipped: no chromium; CHROMIUM may say where it is)' : '';

const SIZES = [
  { width: 360, height: 780 },
  { width: 1280, height: 800 },
];

let site = '';
let pages: readonly string[] = [];
const textOf = (page: string) => readFileSync(join(site, page), 'utf8');

beforeAll(async () => {
  // Made here unless it is there: SITE=<folder>.
  site = process.env.SITE ?? temporaryFolder();
  if (process.env.SITE === undefined)
    await promisify(execFile)('npm', ['run', 'docs', '--', '--out', site, '--logLevel', 'Warn'], { cwd: root });

  pages = readdirSync(site, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.html'));
}, 600_000);

describe('the site', () => {
  it('has the guides and the reference of all entries', () => {
    const titles = pages.filter((page) => page.startsWith('documents/')).map((page) => heading(textOf(page)));
    const guides = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md') && name !== 'README.md');
    for (const guide of guides) {
      const [, title] = /^# (.+)$/m.exec(readFileSync(join(root, 'docs', guide), 'utf8'))!;
      expect(titles).toContain(title);
    }
    const modules = pages.filter((page) => page.startsWith('modules/')).map((page) => page.slice(8, -5));
    expect(modules.sort()).toEqual([
      'lowrank',
      ...['adapters', 'checkpoint', 'evaluate', 'search'].map((entry) => `lowrank_${entry}`),
    ]);
  });

  it('links only to what there is', () => {
    const ids = new Map<string, Set<string>>();
    const idsOf = (page: string) => {
      const known = ids.get(page) ?? new Set([...textOf(page).matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!));
      ids.set(page, known);
      return known;
    };
    const broken: string[] = [];
    let links = 0;
    for (const page of pages) {
      for (const [, target] of textOf(page).matchAll(/ (?:href|src)="([^"]+)"/g)) {
        if (target === '#' || /^(?:https?:|data:|mailto:)/.test(target!)) continue;
        links++;
        const [path, anchor] = target!.split('#') as [string, string?];
        const file = path === '' ? page : join(dirname(page), decodeURIComponent(path));
        const whole = join(site, file);
        const found = existsSync(whole) && statSync(whole).isFile();
        if (!found) broken.push(`${page}: ${target}`);
        else if (anchor !== undefined && file.endsWith('.html') && !idsOf(file).has(decodeURIComponent(anchor))) {
          broken.push(`${page}: ${target}`);
        }
      }
    }
    expect(broken).toEqual([]);
    expect(links).toBeGreaterThan(1000);
  });

  it('leads from page to page inside itself', () => {
    // A copy of a page's source is no page.
    const sources = pages.flatMap((page) =>
      [...textOf(page).matchAll(/ href="([^"]*media\/[^"]*\.md)"/g)].map(([, target]) => `${page}: ${target}`),
    );
    expect(sources).toEqual([]);
  });
});

describe.skipIf(chromium === undefined)(`the site in a browser${skipped}`, () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await Browser.start(chromium!);
  });
  afterAll(async () => {
    await browser?.close();
  });

  const show = async (page: string, view: View) => {
    await browser.show(pathToFileURL(join(site, page)).href, view);
    // To be looked at: SCREENSHOTS=<folder>.
    if (process.env.SCREENSHOTS === undefined) return;
    await mkdir(process.env.SCREENSHOTS, { recursive: true });
    const picture = `${page.replaceAll(/\W+/g, '-')}-${view.width}-${view.scheme}.png`;
    await writeFile(join(process.env.SCREENSHOTS, picture), await browser.screenshot());
  };

  it.each(SIZES)(
    'no page is wider than $width',
    async (size) => {
      const wide: string[] = [];
      for (const page of pages.filter((name) => !/^(?:classes|functions|interfaces|types|variables)\//.test(name))) {
        await show(page, { ...size, scheme: 'light' });
        const found = await browser.evaluate<{ width: number; wide: string[] }>(WIDE);
        if (found.width > size.width || found.wide.length > 0)
          wide.push(`${page}: ${found.width} ${found.wide[0] ?? ''}`);
      }
      expect(wide).toEqual([]);
    },
    600_000,
  );

  it('shows the charts on its first page, light and dark', async () => {
    const backs: string[] = [];
    for (const scheme of ['light', 'dark'] as const) {
      await show('index.html', { ...SIZES[1]!, scheme });
      const charts = await browser.evaluate<string[]>(
        '[...document.images].filter((image) => image.naturalWidth > 0).map((image) => image.src.split("/").at(-1))',
      );
      expect(charts).toEqual(expect.arrayContaining(['bench.svg', 'bench-compress.svg']));
      backs.push(await browser.evaluate('getComputedStyle(document.body).backgroundColor'));
    }
    expect(new Set(backs).size).toBe(2);
  });

  it('finds words of guides and names of the reference', async () => {
    await show('index.html', { ...SIZES[1]!, scheme: 'light' });
    for (const [word, found] of [
      ['editCheckpoint', 'editCheckpoint'],
      ['Marchenko', 'Questions'],
    ]) {
      const results = await browser.evaluate<string>(search(word!));
      expect(results).toContain(found);
    }
  });
});

function heading(html: string): string {
  const [, inside = ''] = /<h1[^>]*>(.*?)<\/h1>/s.exec(html) ?? [];
  return inside
    .replace(/<[^>]*>/g, '')
    .replaceAll('&amp;', '&')
    .replaceAll('&#39;', "'")
    .trim();
}

/**
 * What reaches over the page's right edge, unless it lies in something that scrolls by itself or in
 * the menu, which waits beside a small screen.
 */
const WIDE = `(() => {
  const edge = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let at = element.parentElement; at; at = at.parentElement) {
      if (/auto|scroll|hidden/.test(getComputedStyle(at).overflowX) && at !== document.body && at !== document.documentElement) return true;
    }
    return false;
  };
  const over = [...document.querySelector('.col-content, main, body').querySelectorAll('*')].filter((element) =>
    element.getBoundingClientRect().right > edge + 0.5 && !scrolls(element) && !element.closest('.col-sidebar'));
  return { width: document.documentElement.scrollWidth, wide: over.map((e) => e.outerHTML.slice(0, 200)) };
})()`;

/** Types a word into the search, and returns what it lists. */
const search = (word: string) => `(async () => {
  document.querySelector('#tsd-search-trigger').click();
  const input = document.querySelector('#tsd-search-input');
  const results = document.querySelector('#tsd-search-results');
  // The index loads first; the page waits for a pause in typing.
  for (let i = 0; i < 60; i++) {
    input.value = ${JSON.stringify(word)};
    input.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise((done) => setTimeout(done, 500));
    if (results.innerText.trim() !== '') return results.innerText;
  }
  return 'nothing';
})()`;
