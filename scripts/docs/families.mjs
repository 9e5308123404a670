// Writes docs/families.md from the table of families: run it after a family is added or changed.
//
//   npm run build:ts && node scripts/docs/families.mjs
//
// A unit test compares the page with the table.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** @typedef {import('../../lib/model/families/family.js').Family} Family */
/** @typedef {import('../../lib/model/families/family.js').TensorNaming} TensorNaming */
/** @typedef {import('../../lib/model/families/family.js').MatrixLocation} MatrixLocation */

const INTRODUCTION = `# Families of models

The families whose matrices can be selected by layer and type, with the tensors that hold them. A
family is taken from \`config.json\` (\`model_type\`, or else \`architectures\`), in GGUF from
\`general.architecture\`; \`--family\` overrides it. [laser.md](laser.md#families-and-types) explains
the types. Models of other families are edited by the names of their tensors (\`--tensor\`).

This page is written by \`scripts/docs/families.mjs\` from \`lib/model/families/\`. For each family,
tests make a tiny model with the transformers library and compare layers, shapes and orientation
with its modules, and the parts of fused tensors with what its attention receives.

In the tables, names continue after the number of the layer, and end in \`.weight\` unless they
are those of experts in one tensor. \`#\` is any number, such as that of an expert. Weights are
stored [out, in] unless the table says [in, out]. The shapes of a checkpoint can [show that it
differs](formats.md#orientation).
`;

/** How the parts of a tensor lie in it. */
const PARTS = {
  thirds: (/** @type {number} */ index) => `third ${index + 1} of 3`,
  halves: (/** @type {number} */ index) => `half ${index + 1} of 2`,
  heads: (/** @type {number} */ index) => `${'qkv'[index]}, by heads`,
  interleaved: (/** @type {number} */ index) => `${'qkv'[index]} of each head of k in turn`,
  latent: (/** @type {number} */ index) => `${'kv'[index]} of each head in turn`,
  alternating: (/** @type {number} */ index) => `every other one, from number ${index}`,
};

/**
 * Returns the page of all families.
 *
 * @param {readonly Family[]} families
 */
export function familiesPage(families) {
  return [INTRODUCTION, overview(families), ...families.map(section)].join('\n');
}

/** @param {readonly Family[]} families */
function overview(families) {
  const rows = families.map(({ name, models, gguf }) => [`[\`${name}\`](#${name})`, models, gguf ? 'yes' : '']);
  return table(['family', 'models', 'in GGUF'], rows);
}

/** @param {Family} family */
function section({ name, models, modelTypes, namings, gguf, orientation }) {
  const lines = [`## ${name}`, '', `${models}.`, '', `- \`model_type\`: ${codes(modelTypes)}`];
  if (gguf !== undefined) lines.push(`- \`general.architecture\`: ${codes(gguf.architectures)}`);
  for (const naming of namings) {
    for (let stack = /** @type {TensorNaming | undefined} */ (naming); stack !== undefined; stack = stack.next) {
      const usual = stack.orientation ?? orientation;
      const what = stack === naming ? 'Layers' : 'The layers after those';
      const condition = stack.requires === undefined ? '' : `, if there is a \`${stack.requires.slice(1)}\``;
      lines.push('', `${what} under ${codes(stack.prefixes)}${condition}:`, '');
      const rows = Object.entries(stack.matrices).map(([type, locations]) => {
        return [`\`${type}\``, locations.map((location) => place(location, usual)).join('<br>')];
      });
      lines.push(table(['type', 'tensor'], rows).trimEnd());
    }
  }
  return `${lines.join('\n')}\n`;
}

/**
 * @param {MatrixLocation} location
 * @param {string} usual
 */
function place({ name, part, orientation }, usual) {
  const notes = [];
  if (part !== undefined) notes.push(`${part.axis}: ${PARTS[part.fusion](part.index)}`);
  if ((orientation ?? usual) === 'in x out') notes.push('[in, out]');
  const short = `\`${name.replace(/\.weight$/, '')}\``;
  return notes.length === 0 ? short : `${short} (${notes.join('; ')})`;
}

/** @param {readonly string[]} names */
function codes(names) {
  return names.map((name) => `\`${name}\``).join(' ');
}

/**
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
function table(head, rows) {
  const line = (/** @type {readonly string[]} */ cells) => `| ${cells.join(' | ')} |`.replaceAll('  |', ' |');
  return `${[line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  /** @type {string} */
  const built = '../../dist/entries/checkpoint.js';
  const { FAMILIES } = await import(built);
  writeFileSync(new URL('../../docs/families.md', import.meta.url), familiesPage(FAMILIES));
}
