import { NUMBERS, type Random } from './random.js';

const TOKENS = ['{', '}', '[', ']', ',', ':', '"', '\\', '\\u0000', '\\ud800', 'null', '1e999', '-0', '\ufeff', '0x1'];
const TEXTS = [
  '',
  'a',
  '__proto__',
  'constructor',
  '..',
  '../x',
  '/etc/passwd',
  'a/b',
  'x'.repeat(300),
  '\u0000',
  '(a+)+b',
];

type Node = { holder: Record<string, unknown> | unknown[]; key: string | number };

/**
 * A change of a JSON text: of its values mostly, of its letters sometimes. `texts` are words that
 * the format knows.
 */
export function mutateJson(random: Random, text: string, texts: readonly string[] = []): string {
  if (random.chance(0.2)) return mutateText(random, text);
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch {
    return mutateText(random, text);
  }
  const nodes = nodesOf(root);
  if (nodes.length === 0) return mutateText(random, text);
  const { holder, key } = random.pick(nodes);
  const target = holder as Record<string | number, unknown>;
  switch (random.below(5)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(key as number, 1);
      else delete target[key];
      break;
    case 1:
      // Under another name too.
      target[Array.isArray(holder) ? holder.length : random.pick([...TEXTS, ...texts])] = target[key];
      break;
    case 2:
      target[key] = target[random.pick(nodes).key] ?? null;
      break;
    default:
      target[key] = anyValue(random, texts, 2);
  }
  return JSON.stringify(root).replace(/"@big:(-?\d+)"/g, '$1');
}

function anyValue(random: Random, texts: readonly string[], depth: number): unknown {
  const kind = random.below(depth > 0 ? 9 : 6);
  if (kind < 2) return `@big:${random.pick(NUMBERS)}`;
  if (kind === 2) return random.pick([0.5, -1.5, 1e300, 1e-300]);
  if (kind < 5) return random.pick([...TEXTS, ...texts, ...texts]);
  if (kind === 5) return random.pick([null, true, false]);
  const items = Array.from({ length: random.below(4) }, () => anyValue(random, texts, depth - 1));
  return random.chance(0.5)
    ? items
    : Object.fromEntries(items.map((item) => [random.pick([...TEXTS, ...texts]), item]));
}

function nodesOf(value: unknown): Node[] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Record<string, unknown> | unknown[];
  return Object.entries(holder).flatMap(([key, inner]) => [
    { holder, key: Array.isArray(holder) ? Number(key) : key },
    ...nodesOf(inner),
  ]);
}

export function mutateText(random: Random, text: string, tokens: readonly string[] = TOKENS): string {
  const at = random.below(text.length + 1);
  const length = random.below(8);
  switch (random.below(4)) {
    case 0:
      return text.slice(0, at) + random.pick(tokens) + text.slice(at);
    case 1:
      return text.slice(0, at) + random.pick(tokens) + text.slice(at + length);
    case 2:
      return text.slice(0, at) + text.slice(at + length);
    default:
      return (
        text.slice(0, at) +
        text.slice(at, at + length).repeat(random.pick([2, 2, 2, 300])) +
        text.slice(at)
      ).slice(0, 20_000);
  }
}
