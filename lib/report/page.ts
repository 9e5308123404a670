import { packageVersion } from '../version.js';
import { type Content, element, Html } from './html.js';
import { STYLE } from './style.js';

/** Identifies a file as a report, which another report may replace. */
export const GENERATOR = 'lowrank report';

/** Nothing is loaded, run or sent; only the styles in the page apply. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

export interface Section {
  readonly id: string;
  readonly title: string;
  readonly content: Content;
}

/** Renders a whole page; leaves out sections without content. */
export function page(title: string, lead: Content, sections: readonly Section[]): string {
  const shown = sections.filter(({ content }) => !isEmpty(content));
  const links = shown.map(({ id, title: name }) => element('li', {}, element('a', { href: `#${id}` }, name)));
  const head = element(
    'head',
    {},
    element('meta', { charset: 'utf-8' }),
    element('meta', { 'http-equiv': 'Content-Security-Policy', content: POLICY }),
    element('meta', { name: 'generator', content: `${GENERATOR} ${packageVersion()}` }),
    element('meta', { name: 'viewport', content: 'width=device-width, initial-scale=1' }),
    element('meta', { name: 'color-scheme', content: 'light dark' }),
    element('meta', { name: 'referrer', content: 'no-referrer' }),
    element('title', {}, title),
    element('style', {}, new Html(STYLE)),
  );
  const body = element(
    'body',
    {},
    element('header', {}, element('h1', {}, title), lead),
    element('nav', { 'aria-label': 'Sections' }, element('ul', {}, links)),
    element(
      'main',
      {},
      shown.map(({ id, title: name, content }) =>
        element(
          'section',
          { id, 'aria-labelledby': `${id}-title` },
          element('h2', { id: `${id}-title` }, name),
          content,
        ),
      ),
    ),
    element(
      'footer',
      {},
      `Written by lowrank ${packageVersion()}. Nothing in this page is loaded from elsewhere, and nothing runs.`,
    ),
  );
  return `<!doctype html>\n${element('html', { lang: 'en' }, head, body).markup}\n`;
}

function isEmpty(content: Content): boolean {
  return content === undefined || (Array.isArray(content) && content.every(isEmpty));
}

export function paragraph(...content: Content[]): Html {
  return element('p', {}, content);
}

export function note(...content: Content[]): Html {
  return element('p', { class: 'note' }, content);
}

/** Renders words only for screen readers, which do not convey colours and marks. */
export function spoken(words: string): Html {
  return element('span', { class: 'spoken' }, words);
}

/** Renders a command from the words of {@link shellWords}. */
export function command(words: readonly string[]): Html {
  const spans = words.map((word, i) => [i > 0 ? ' ' : '', element('span', {}, word)]);
  return element('pre', {}, element('code', {}, spans));
}
