import { ArgumentError, describe } from '../errors.js';
import { asLayerType, type LayerType } from '../model/types.js';
import { checkOptions, number, type OptionTypes, text } from '../options.js';

/** What is done to a matrix. */
export const KINDS = ['rank-reduction', 'dropout', 'zero', 'bottom', 'band', 'random'] as const;

/**
 * - `rank-reduction`: the best approximation of rank k, k = floor(rho min(m, n))
 * - `dropout`: the share 1 - rho of the numbers that are smallest in absolute value becomes 0
 * - `zero`: all numbers become 0
 * - `bottom`: the k = floor(rho min(m, n)) singular components of the smallest singular values stay, and no other
 * - `band`: the components from one share of min(m, n) up to another stay
 * - `random`: k components stay that chance chooses, for each matrix anew: what a choice by size has to be compared with
 *
 * @useDeclaredType
 */
export type InterventionKind = (typeof KINDS)[number];

/** Which matrices: by layer and type in a model of a known family, or tensors by a pattern for their names. */
export type Selection =
  | { readonly layers: 'all' | readonly number[]; readonly types: readonly LayerType[] }
  | { readonly glob: string };

/**
 * How much is kept: rho in [0, 1], or the paper's rate in [0, 10], which is 10 (1 - rho) up to float rounding; of `band`
 * the shares at which it begins and ends.
 */
export type Amount =
  | { readonly rankFraction: number }
  | { readonly rate: number }
  | { readonly band: readonly [from: number, to: number] };

/** One intervention of the LASER paper. */
export interface Intervention {
  readonly kind: InterventionKind;
  readonly select: Selection;
  readonly amount: Amount;
  /** How the user wrote it, for messages. */
  readonly spec: string;
}

const DECIMAL = /^(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
/** No model has as many layers, and `0-999999999` must not fill the memory. */
export const MAX_LAYERS = 100_000;

/**
 * Reads `layers:types:rho`, such as `26:fc_in:0.01`, `20-27:mlp:0.1`, `0,2,5-7:q_proj,k_proj:0.5`, `all:fc_out:0.9`.
 *
 * @throws {@link ArgumentError} naming the part that is wrong.
 */
export function parseAt(spec: string, kind: InterventionKind = 'rank-reduction'): Intervention {
  requireSpec('at', spec, kind);
  const parts = spec.split(':');
  // Zeroing needs no share.
  if (parts.length !== 3 && !(parts.length === 2 && kind === 'zero')) {
    throw new ArgumentError('at', 'layers:types:rho, such as 26:fc_in:0.01', spec);
  }
  const [layers, types, rho = '0'] = parts as [string, string, string?];
  return {
    kind,
    select: { layers: parseLayers(layers, spec), types: parseTypes(types, `at ${describe(spec)}`) },
    amount: parseAmount(rho, kind, `at ${describe(spec)}`),
    spec,
  };
}

/**
 * Reads `pattern:rho`, where the pattern is a glob over tensor names: `model.layers.3.*.weight:0.1`. A pattern may itself
 * contain colons. Zeroing needs no rho.
 *
 * @throws {@link ArgumentError} naming the part that is wrong.
 */
export function parseTensorSpec(spec: string, kind: InterventionKind = 'rank-reduction'): Intervention {
  requireSpec('tensor', spec, kind);
  const colon = spec.lastIndexOf(':');
  if (kind === 'zero' && spec !== '' && !DECIMAL.test(spec.slice(colon + 1))) {
    return { kind, select: { glob: spec }, amount: { rankFraction: 0 }, spec };
  }
  if (colon <= 0) throw new ArgumentError('tensor', 'pattern:rho, such as model.layers.3.*.weight:0.1', spec);
  const amount = parseAmount(spec.slice(colon + 1), kind, `tensor ${describe(spec)}`);
  return { kind, select: { glob: spec.slice(0, colon) }, amount, spec };
}

/** The flags of the paper's own programs. */
export interface PaperFlags {
  /** The layer; -1 for all. */
  readonly lnum: number;
  /** A type, `dont` included, or several with commas. */
  readonly lname: string;
  /** In [0, 10]: 0 keeps all, 10 nothing, 9.9 a hundredth. */
  readonly rate: number;
}

const PAPER_FLAGS: OptionTypes<PaperFlags> = { lnum: number, lname: text, rate: number };

/**
 * The intervention that the paper's own flags mean.
 *
 * @throws {@link ArgumentError} naming the flag that is wrong.
 */
export function paperIntervention(flags: PaperFlags, kind: InterventionKind = 'rank-reduction'): Intervention {
  const { lnum, lname, rate } = checkOptions(flags, PAPER_FLAGS, 'paperIntervention');
  asKind(kind);
  if (!Number.isSafeInteger(lnum) || lnum < -1) {
    throw new ArgumentError('lnum', 'a layer number, or -1 for all layers', lnum);
  }
  if (lname === undefined) throw new ArgumentError('lname', 'a type, or several with commas', lname);
  if (!(rate >= 0 && rate <= 10)) throw new ArgumentError('rate', 'a number from 0 to 10', rate);
  if (kind === 'band') throw new ArgumentError('rate', 'layers:types:from-to for band', rate);
  return {
    kind,
    select: { layers: lnum === -1 ? 'all' : [lnum], types: parseTypes(lname, 'lname') },
    amount: { rate },
    spec: `--lnum ${lnum} --lname ${lname} --rate ${rate}`,
  };
}

/**
 * Reads a list of interventions, written as text or as objects.
 *
 * @throws {@link ArgumentError} naming the one that is neither, or the part of it that is wrong.
 */
export function asInterventions(list: readonly (Intervention | string)[]): Intervention[] {
  if (!Array.isArray(list)) throw new ArgumentError('interventions', 'an array of interventions', list);
  return list.map((item, i) =>
    typeof item === 'string' ? parseAt(item) : asIntervention(item, `interventions[${i}]`),
  );
}

function asIntervention(item: unknown, argument: string): Intervention {
  const { kind, select, amount, spec } = (item ?? {}) as Partial<Intervention>;
  if (isSelection(select) && isObject(amount) && typeof spec === 'string') {
    return { kind: asKind(kind!), select, amount: amount as Amount, spec };
  }
  throw new ArgumentError(argument, 'layers:types:rho, or an intervention as parseAt makes it', item);
}

function isSelection(value: unknown): value is Selection {
  if (!isObject(value)) return false;
  const { glob, layers, types } = value;
  return typeof glob === 'string' || ((layers === 'all' || Array.isArray(layers)) && Array.isArray(types));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function requireSpec(argument: string, spec: unknown, kind: InterventionKind): void {
  if (typeof spec !== 'string') throw new ArgumentError(argument, 'a string', spec);
  asKind(kind);
}

/** @throws {@link ArgumentError} when `name` is none of {@link KINDS}. */
export function asKind(name: string): InterventionKind {
  const found = KINDS.find((kind) => kind === name);
  if (found === undefined) throw new ArgumentError('intervention', `one of ${KINDS.join(', ')}`, name);
  return found;
}

function parseLayers(text: string, spec: string): 'all' | number[] {
  if (text === 'all') return 'all';
  const layers = new Set<number>();
  for (const item of text.split(',')) {
    const [, first, last = first] = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(item) ?? [];
    if (first === undefined || Number(first) > Number(last) || Number(last) >= MAX_LAYERS) {
      throw new ArgumentError(`at ${describe(spec)}`, 'layers as a number, a range 20-27, a list 0,2,5-7 or all', text);
    }
    for (let layer = Number(first); layer <= Number(last); layer++) layers.add(layer);
  }
  return [...layers].sort((a, b) => a - b);
}

function parseTypes(text: string, argument: string): LayerType[] {
  return [...new Set(text.split(',').map((name) => asLayerType(name, argument)))];
}

function parseAmount(text: string, kind: InterventionKind, argument: string): Amount {
  if (kind !== 'band') return { rankFraction: parseShare(text, argument) };
  // A minus sign after an e belongs to the exponent.
  const [from, to, ...more] = text.split(/(?<![eE])-/).map((share) => parseShare(share, argument));
  if (from === undefined || to === undefined || more.length > 0 || from >= to) {
    throw new ArgumentError(argument, 'two shares, the smaller first, such as 0.1-0.5', text);
  }
  return { band: [from, to] };
}

function parseShare(text: string, argument: string): number {
  const rho = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (!(rho >= 0 && rho <= 1)) throw new ArgumentError(argument, 'rho, the share to keep, from 0 to 1', text);
  return rho;
}
