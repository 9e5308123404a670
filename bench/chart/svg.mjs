// Writes SVG for both charts: elements, colours for light and dark pages, log scales.

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; }
  .head { font-weight: 600; }
  .quiet { fill: #59636e; }
  .page { fill: #ffffff; }
  .grid { stroke: #d1d9e0; stroke-width: 1; fill: none; }
  .ours { fill: #0969da; stroke: #0969da; }
  .ours2 { fill: #80ccff; stroke: #80ccff; }
  .rival { fill: #9198a1; stroke: #9198a1; }
  .rival2 { fill: #bc4c00; stroke: #bc4c00; }
  .bound { fill: #1a7f37; stroke: #1a7f37; stroke-dasharray: 5 4; }
  path.line { fill: none; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .quiet { fill: #9198a1; }
    .page { fill: #0d1117; }
    .grid { stroke: #3d444d; }
    .ours { fill: #4493f8; stroke: #4493f8; }
    .ours2 { fill: #2f6fc4; stroke: #2f6fc4; }
    .rival { fill: #868e98; stroke: #868e98; }
    .rival2 { fill: #db6d28; stroke: #db6d28; }
    .bound { fill: #3fb950; stroke: #3fb950; }
  }`;

/** @typedef {Record<string, string | number>} Attributes */

const escaped = (/** @type {string | number} */ value) =>
  String(value).replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');

/**
 * @param {string} name
 * @param {Attributes} attributes
 * @param {string} content
 */
export function element(name, attributes, content = '') {
  const text = Object.entries(attributes).map(([key, value]) => ` ${key}="${escaped(value)}"`);
  return `<${name}${text.join('')}>${content}</${name}>`;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string | number} content
 * @param {Attributes} attributes
 */
export function text(x, y, content, attributes = {}) {
  return element('text', { x: round(x), y: round(y), ...attributes }, escaped(content));
}

export const round = (/** @type {number} */ value) => Math.round(value * 10) / 10;

/**
 * @param {number} width
 * @param {number} height
 * @param {string} label
 * @param {string[]} content
 */
export function page(width, height, label, content) {
  const head = { xmlns: 'http://www.w3.org/2000/svg', viewBox: `0 0 ${width} ${height}`, width, height, role: 'img' };
  const back = element('rect', { class: 'page', width, height });
  const parts = [element('title', {}, escaped(label)), element('style', {}, STYLE), back, ...content];
  return `${element('svg', head, `\n${parts.join('\n')}\n`)}\n`;
}

/**
 * Maps positive numbers to positions on a log scale from `begin` to `end`, and lists its powers of
 * ten.
 *
 * @param {number[]} values
 * @param {number} begin
 * @param {number} end
 */
export function logScale(values, begin, end) {
  const low = Math.floor(Math.log10(Math.min(...values)) + 1e-9);
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values)) - 1e-9), low + 1);
  const at = (/** @type {number} */ value) => begin + ((Math.log10(value) - low) / (high - low)) * (end - begin);
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  return { at, ticks };
}
