// TypeDoc plugin for the pages beside the reference. Their names are their headings; those of docs/
// are guides, in the order of docs/README.md, which is the first page.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Converter, PageEvent } from 'typedoc';

const index = readFileSync(new URL('../../docs/README.md', import.meta.url), 'utf8');

/** The place of a page in the index; what is not in it comes last. @param {string} file */
function place(file) {
  const at = index.indexOf(`](${basename(file)})`);
  return at < 0 ? Number.POSITIVE_INFINITY : at;
}

/** @param {import('typedoc').Application} app */
export function load(app) {
  /** The titles of the guides by their files, such as `laser.md`. @type {Map<string, string>} */
  const titles = new Map();

  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, reflection) => {
    if (!reflection.isDocument()) return;
    const file = reflection.project.files.getReflectionPath(reflection) ?? '';
    const text = reflection.content.map((part) => part.text).join('');
    const heading = /^# (.+)$/m.exec(text)?.[1]?.replaceAll('`', '');
    const isOverview = heading === reflection.project.name;
    const isGuide = isOverview || /[\\/]docs[\\/][^\\/]+$/.test(file);
    if (heading !== undefined) reflection.name = isOverview ? 'Overview and installation' : heading;
    reflection.frontmatter.group = isGuide ? 'Guides' : 'Project';
    if (isGuide) titles.set(basename(file), reflection.name);
  });

  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    const order = (/** @type {import('typedoc').Reflection} */ page) => {
      const file = project.files.getReflectionPath(page) ?? '';
      return basename(file) === 'README.md' && page.name !== 'Examples' ? -1 : place(file);
    };
    project.documents?.sort((a, b) => order(a) - order(b) || 0);
    project.childrenIncludingDocuments?.sort((a, b) =>
      a.isDocument() && b.isDocument() ? order(a) - order(b) || 0 : 0,
    );
  });

  app.renderer.on(PageEvent.END, (page) => {
    // In the site, a page is called by its title. A folder opens only where a server shows its page.
    page.contents = page.contents
      ?.replace(/(<a href="[^"]+">)([\w-]+\.md)<\/a>/g, (link, start, file) => {
        const title = titles.get(file);
        return title === undefined ? link : `${start}${title}</a>`;
      })
      .replaceAll('href="../"', 'href="../index.html"');
  });
}
