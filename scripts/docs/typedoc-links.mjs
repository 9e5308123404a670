// TypeDoc plugin that resolves names in comments among the exports of all entries. TypeDoc itself
// looks only in the comment's own entry, but comments name errors and functions of other entries.

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.addUnknownSymbolResolver(({ moduleSource, symbolReference }, { project }) => {
    const path = symbolReference?.path?.map(({ path }) => path);
    if (moduleSource !== undefined || path?.length !== 1) return undefined;
    const [found, ...more] = (project.children ?? []).flatMap((entry) => entry.getChildByName(path) ?? []);
    if (found === undefined || more.length > 0) return undefined;
    // TypeDoc accepts a reflection as a target, but declares only URLs.
    const target = /** @type {any} */ (found);
    return { target, caption: path[0] };
  });
}
