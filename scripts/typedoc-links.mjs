// A plugin of TypeDoc. Comments name errors and functions of other entries, which TypeDoc looks up in the entry of the
// comment only: this resolves them among the exports of all entries.

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.addUnknownSymbolResolver(({ moduleSource, symbolReference }, { project }) => {
    const path = symbolReference?.path?.map(({ path }) => path);
    if (moduleSource !== undefined || path?.length !== 1) return undefined;
    const found = project.children.flatMap((entry) => entry.getChildByName(path) ?? []);
    return found.length === 1 ? { target: found[0], caption: path[0] } : undefined;
  });
}
