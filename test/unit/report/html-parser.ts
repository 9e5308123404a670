/** An element of a page, as {@link parseHtml} reads it. */
export interface Node {
  readonly name: string;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: (Node | string)[];
}

const VOID = new Set(['meta', 'br', 'link', 'img', 'input']);
/** What holds no markup. */
const RAW = new Set(['style', 'script', 'title']);
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };

/**
 * Reads HTML that closes everything it opens and quotes all attributes: stricter than a browser, so
 * that what it takes is read the same by every one of them. Throws with the place of the fault.
 */
export function parseHtml(html: string): Node {
  const root: Node = { name: '#root', attributes: new Map(), children: [] };
  const open: Node[] = [root];
  let at = html.match(/^<!doctype html>\s*/i)?.[0].length ?? 0;
  if (at === 0) throw new Error('no doctype');
  const fail = (what: string): never => {
    throw new Error(`${what} at ${at}: ${JSON.stringify(html.slice(Math.max(0, at - 60), at + 60))}`);
  };
  while (at < html.length) {
    const top = open.at(-1)!;
    const rest = html.slice(at, at + 100_000);
    const text = RAW.has(top.name) ? html.slice(at, html.indexOf(`</${top.name}>`, at)) : /^[^<]*/.exec(rest)![0];
    if (text !== '') {
      top.children.push(decoded(text, fail));
      at += text.length;
      continue;
    }
    const close = /^<\/([a-z][a-z0-9]*)>/.exec(rest);
    if (close !== null) {
      if (close[1] !== top.name) fail(`</${close[1]}> closes <${top.name}>`);
      open.pop();
      at += close[0].length;
      continue;
    }
    const begin = /^<([a-z][a-z0-9]*)((?:\s+[a-zA-Z-]+(?:="[^"<>]*")?)*)>/.exec(rest);
    if (begin === null) return fail('no tag');
    const pairs = [...begin[2]!.matchAll(/\s+([a-zA-Z-]+)(?:="([^"]*)")?/g)];
    const attributes = new Map(pairs.map(([, name, value = '']) => [name!, decoded(value, fail)]));
    if (attributes.size !== pairs.length) fail('an attribute twice');
    const node: Node = { name: begin[1]!, attributes, children: [] };
    top.children.push(node);
    if (!VOID.has(node.name)) open.push(node);
    at += begin[0].length;
  }
  if (open.length > 1) fail(`<${open.at(-1)!.name}> is not closed`);
  return root;
}

function decoded(text: string, fail: (what: string) => never): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/.test(text)) fail('a control character');
  return text.replace(/&([a-z]+|#\d+);|&/g, (_, name?: string) => ENTITIES[name ?? ''] ?? fail(`&${name ?? ''}`));
}

/** All elements below one, in their order, that `wanted` takes. */
export function find(node: Node, wanted: (node: Node) => boolean): Node[] {
  return node.children.flatMap((child) =>
    typeof child === 'string' ? [] : [...(wanted(child) ? [child] : []), ...find(child, wanted)],
  );
}

export const named = (node: Node, name: string) => find(node, (each) => each.name === name);

export function textOf(node: Node): string {
  return node.children.map((child) => (typeof child === 'string' ? child : textOf(child))).join('');
}
