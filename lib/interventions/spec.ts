import { ArgumentError, describe } from '../errors.js';
import { type Layers, parseLayers } from '../model/layers.js';
import { asLayerType } from '../model/type-named.js';
import type { LayerType } from '../model/types.js';
import { checkOptions, number, type OptionTypes, text } from '../options.js';
import { type Amount, isDecimal } from './amount.js';
import { asKind, DEFAULT_KIND, type InterventionKind, kindOf } from './kinds/kinds.js';

/**
 * The matrices to edit: by layer and type in a model of a known family, or tensors by a pattern of
 * their names.
 */
export type Selection = { readonly layers: Layers; readonly types: readonly LayerType[] } | { readonly glob: string };

/** One intervention of the LASER paper. */
export interface Intervention {
  readonly kind: InterventionKind;
  readonly select: Selection;
  readonly amount: Amount;
  /** The user's own notation, for messages. */
  readonly spec: string;
}

/**
 * Parses `layers:types:amount`, such as `26:fc_in:0.01`, `20-27:mlp:0.1`,
 * `0,2,5-7:q_proj,k_proj:0.5`, `last:fc_out:k=40`, `-4..:mlp:energy=0.95`. A layer below 0 counts
 * from the last one, -1. (In {@link paperIntervention}, as in the paper's programs, -1 is all.)
 *
 * @throws {@link ArgumentError} naming the wrong part.
 */
export function parseAt(spec: string, kind: InterventionKind = DEFAULT_KIND): Intervention {
  requireSpec('at', spec, kind);
  const { amount } = kindOf(kind);
  const parts = spec.split(':');
  if (parts.length !== 3 && !(parts.length === 2 && !amount.needed)) {
    throw new ArgumentError('at', 'layers:types:rho, such as 26:fc_in:0.01 or last:mlp:k=40', spec);
  }
  const [layers, types, rho = '0'] = parts as [string, string, string?];
  return {
    kind,
    select: { layers: parseLayers(layers, `at ${describe(spec)}`), types: parseTypes(types, `at ${describe(spec)}`) },
    amount: amount.parse(rho, `at ${describe(spec)}`),
    spec,
  };
}

/**
 * Parses `pattern:rho`, where the pattern is a glob over tensor names:
 * `model.layers.3.*.weight:0.1`. A pattern may contain colons. Zeroing needs no rho.
 *
 * @throws {@link ArgumentError} naming the wrong part.
 */
export function parseTensorSpec(spec: string, kind: InterventionKind = DEFAULT_KIND): Intervention {
  requireSpec('tensor', spec, kind);
  const form = kindOf(kind).amount;
  const colon = spec.lastIndexOf(':');
  if (!form.needed && spec !== '' && !isDecimal(spec.slice(colon + 1))) {
    return { kind, select: { glob: spec }, amount: { rankFraction: 0 }, spec };
  }
  if (colon <= 0) throw new ArgumentError('tensor', 'pattern:rho, such as model.layers.3.*.weight:0.1', spec);
  const amount = form.parse(spec.slice(colon + 1), `tensor ${describe(spec)}`);
  return { kind, select: { glob: spec.slice(0, colon) }, amount, spec };
}

/** The flags of the paper's own programs. */
export interface PaperFlags {
  /** The layer; -1 for all. */
  readonly lnum: number;
  /** A type, including `dont`, or several with commas. */
  readonly lname: string;
  /** In [0, 10]: 0 keeps everything, 10 nothing, 9.9 a hundredth. */
  readonly rate: number;
}

const PAPER_FLAGS: OptionTypes<PaperFlags> = { lnum: number, lname: text, rate: number };

/**
 * Returns the intervention that the paper's flags describe.
 *
 * @throws {@link ArgumentError} naming the wrong flag.
 */
export function paperIntervention(flags: PaperFlags, kind: InterventionKind = DEFAULT_KIND): Intervention {
  const { lnum, lname, rate } = checkOptions(flags, PAPER_FLAGS, 'paperIntervention');
  const { amount } = kindOf(kind);
  if (!Number.isSafeInteger(lnum) || lnum < -1) {
    throw new ArgumentError('lnum', 'a layer number, or -1 for all layers', lnum);
  }
  if (lname === undefined) throw new ArgumentError('lname', 'a type, or several with commas', lname);
  if (!(rate >= 0 && rate <= 10)) throw new ArgumentError('rate', 'a number from 0 to 10', rate);
  return {
    kind,
    select: { layers: lnum === -1 ? 'all' : [lnum], types: parseTypes(lname, 'lname') },
    amount: amount.ofRate(rate),
    spec: `--lnum ${lnum} --lname ${lname} --rate ${rate}`,
  };
}

/**
 * Reads a list of interventions, as text or as objects.
 *
 * @throws {@link ArgumentError} naming the one that is neither, or its wrong part.
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
  throw new ArgumentError(argument, 'layers:types:amount, or an intervention from parseAt', item);
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

function parseTypes(text: string, argument: string): LayerType[] {
  return [...new Set(text.split(',').map((name) => asLayerType(name, argument)))];
}
