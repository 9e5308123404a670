import { printable } from '../text/printable.js';

/**
 * Markup that is safe to put into a page. Only {@link element} makes it out of text, and that escapes: names of tensors and
 * files come from strangers.
 */
export class Html {
  constructor(readonly markup: string) {}
}

/** What stands in an element: text is escaped, undefined is nothing. */
export type Content = Html | string | number | undefined | readonly Content[];

/** An attribute that is undefined is left out; one that is true stands without a value. */
export type Attributes = Readonly<Record<string, string | number | true | undefined>>;

const VOID = new Set(['meta']);

export function element(name: string, attributes: Attributes, ...content: Content[]): Html {
  const parts = Object.entries(attributes).map(([key, value]) => {
    if (value === undefined) return '';
    return value === true ? ` ${key}` : ` ${key}="${escapeHtml(String(value))}"`;
  });
  const open = `<${name}${parts.join('')}>`;
  return new Html(VOID.has(name) ? open : `${open}${markupOf(content)}</${name}>`);
}

function markupOf(content: Content): string {
  if (content === undefined) return '';
  if (content instanceof Html) return content.markup;
  if (typeof content === 'object') return content.map(markupOf).join('');
  return escapeHtml(String(content));
}

const SPECIAL: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text as it may stand in an element or in an attribute's quotes. */
function escapeHtml(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => SPECIAL[character]!);
}

const LONGEST_NAME = 160;

/** A name out of a file, as code. Of a very long one the middle is left out, and how much that is. */
export function nameOf(text: string): Html {
  return element('code', {}, shortened(text));
}

/** As {@link nameOf}, for attributes and titles. */
export function shortened(text: string): string {
  const characters = [...text];
  if (characters.length <= LONGEST_NAME) return text;
  const end = LONGEST_NAME / 2;
  const left = characters.length - LONGEST_NAME;
  return `${characters.slice(0, end).join('')} [${left} characters] ${characters.slice(-end).join('')}`;
}
