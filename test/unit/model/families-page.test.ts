import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { FAMILIES } from '../../../lib/model/families/families.js';
import { LAYER_TYPES } from '../../../lib/model/types.js';
import { familiesPage } from '../../../scripts/docs/families.mjs';

const pageOf = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');

it('docs/families.md is the table of families: run node scripts/docs/families.mjs', () => {
  const page = pageOf('families.md');
  expect(page).toBe(familiesPage(FAMILIES));
  for (const { name } of FAMILIES) expect(page).toContain(`\n## ${name}\n`);
});

it('docs/laser.md explains every type', () => {
  const page = pageOf('laser.md');
  expect(LAYER_TYPES.filter((type) => !page.includes(`\`${type}\``))).toEqual([]);
});
