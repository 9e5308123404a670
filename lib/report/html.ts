import { printable } from '../text/printable.js';

/**
 * Markup that is safe to insert into a page. Only {@link element} makes it from text, and it
 * escapes the text: names of tensors and files are untrusted.
 */
export class Html {
  constructor(readonly markup: string) {}
}

/** The content of an element: text is escaped, undefined is empty. */
export type Content = Html | string | number | undefined | readonly Content[];

/** Undefined attributes are left out; true attributes have no value. */
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

/** Escapes text for an element or a quoted attribute. */
function escapeHtml(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => SPECIAL[character]!);
}

const LONGEST_NAME = 160;

/**
 * Renders a name from a file as code. A very long name is shortened in the middle, with the number
 * of omitted characters.
 */
export function nameOf(text: string): Html {
  return element('code', {}, shortened(text));
}

/** Shortens a name like {@link nameOf}, for attributes and titles. */
export function shortened(text: string): string {
  const characters = [...text];
  if (characters.length <= LONGEST_NAME) return text;
  const end = LONGEST_NAME / 2;
  const left = characters.length - LONGEST_NAME;
  return `${characters.slice(0, end).join('')} [${left} characters] ${characters.slice(-end).join('')}`;
}
