/**
 * Edits of a JSON object as text: everything else keeps its bytes, even what JSON cannot express,
 * such as NaN.
 */

/** A member of the outermost object: where its key begins and its value ends. */
interface Member {
  readonly key: string;
  readonly start: number;
  readonly end: number;
}

/** Strings, and all characters that separate or nest values. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]/gs;

/**
 * Sets a member of an object, as its last one.
 *
 * @param text valid JSON, or what Python writes; an object
 */
export function withMember(text: string, key: string, value: unknown): string {
  const rest = withoutMember(text, key);
  const { members, open } = membersOf(rest);
  const last = members.at(-1)?.end ?? open + 1;
  const [first] = members;
  // The new member stands on a line of its own if the first one does.
  const space = first === undefined ? '\n  ' : rest.slice(open + 1, first.start);
  const indent = /\n([^\n]*)$/.exec(space)?.[1];
  const json =
    indent === undefined ? JSON.stringify(value) : JSON.stringify(value, null, 2).replaceAll('\n', `\n${indent}`);
  const end = first === undefined ? '\n' : '';
  const comma = first === undefined ? '' : ',';
  return `${rest.slice(0, last)}${comma}${space}${JSON.stringify(key)}: ${json}${end}${rest.slice(last)}`;
}

/** Removes a member of an object, if it is there, with the comma that it needs no more. */
export function withoutMember(text: string, key: string): string {
  const { members, open } = membersOf(text);
  const index = members.findLastIndex((member) => member.key === key);
  if (index < 0) return text;
  const { end } = members[index]!;
  const before = members[index - 1]?.end ?? open + 1;
  const next = members[index + 1]?.start;
  const rest =
    index > 0 || next === undefined
      ? text.slice(0, before) + text.slice(end)
      : text.slice(0, members[index]!.start) + text.slice(next);
  return withoutMember(rest, key);
}

function membersOf(text: string): { readonly members: readonly Member[]; readonly open: number } {
  const members: Member[] = [];
  let depth = 0;
  let open = 0;
  let begun: { readonly key: string; readonly start: number } | undefined;
  const finish = (end: number) => {
    if (begun !== undefined) members.push({ ...begun, end: end - trailingSpace(text, end) });
    begun = undefined;
  };
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') {
      if (depth++ === 0) open = index;
    } else if (token === '}' || token === ']') {
      if (--depth === 0) finish(index);
    } else if (depth === 1 && token === ',') finish(index);
    else if (depth === 1 && token.startsWith('"')) begun ??= { key: JSON.parse(token) as string, start: index };
  }
  return { members, open };
}

/** The length of the white space before a position. */
function trailingSpace(text: string, end: number): number {
  let start = end;
  while (/\s/.test(text[start - 1] ?? '')) start--;
  return end - start;
}
