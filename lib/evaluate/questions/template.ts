/** A `{name}`, or a doubled brace, which stands for itself. */
const PLACE = /\{\{|\}\}|\{([^{}]*)\}/g;

/** Replaces each `{name}` of a template. */
export function fillTemplate(template: string, contentOf: (name: string) => string): string {
  return template.replace(PLACE, (place: string, name: string | undefined) =>
    name === undefined ? place[0]! : contentOf(name),
  );
}

/** Returns the names that a template needs. */
export function namesIn(template: string): string[] {
  return [...template.matchAll(PLACE)].flatMap(([, name]) => name ?? []);
}
