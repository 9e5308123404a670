import { ArgumentError, LowRankError } from '../../errors.js';
import type { ByteRange, NewTensorInfo, OtherFactors, QuantizedForm, TensorInfo } from '../checkpoint.js';
import { PartList } from '../parts.js';
import type { Cut } from './cuts.js';
import { bytesOf } from './data-layout.js';
import { externalTensor, field, integersTensor, joined, prefix, tensorStart, valueInfo } from './encode.js';
import type { Field } from './protobuf.js';
import { OF_TURNED } from './tensor-proto.js';
import type { WeightUse, Wiring } from './wiring.js';

/** A model's file, and where its graph lies. */
export interface SplicedFile {
  /** Relative to the checkpoint's folder. */
  readonly file: string;
  readonly size: number;
  readonly graph: Field;
  readonly wiring: Wiring;
  /** The version of the format. */
  readonly irVersion: number;
  /** The version of ONNX's own operators. */
  readonly opset: number;
  /** The domains of all operators that it imports. */
  readonly domains: ReadonlySet<string>;
}

/** A tensor and those that take its place. */
export interface Replacement {
  readonly info: TensorInfo;
  /** Of a weight its factors, unless something else is said. */
  readonly by: readonly NewTensorInfo[];
  /** How they make it up, if they are whole numbers with scales. */
  readonly form?: QuantizedForm | undefined;
  /** If the tensor is a left factor and gives way to the weight: what that is multiplied by. */
  readonly times?: (OtherFactors & { readonly turned: boolean }) | undefined;
  /** Where the new tensors lie, if not in the model's file. */
  readonly data?: { readonly location: string; readonly places: ReadonlyMap<string, ByteRange> } | undefined;
}

/** Names for new values, which no other value has. */
export class Names {
  readonly #taken = new Set<string>();

  /** @throws ArgumentError where a new tensor has the name of a value. */
  constructor(
    private readonly wiring: Wiring,
    replacements: readonly Replacement[],
  ) {
    for (const { name } of replacements.flatMap(({ by }) => by)) {
      if (this.#isTaken(name))
        throw new ArgumentError('name of a new tensor', 'one that no value of the model has', name);
      this.#taken.add(name);
    }
  }

  /** `base`, or `base` with a number. */
  unused(base: string): string {
    let name = base;
    for (let i = 2; this.#isTaken(name); i++) name = `${base}.${i}`;
    this.#taken.add(name);
    return name;
  }

  #isTaken(name: string): boolean {
    return this.#taken.has(name) || this.wiring.has(name);
  }
}

/** Before this version of the format, every initialiser is an input of the graph too. */
export const OWN_INITIALIZERS_SINCE = 4;

/** A constant of whole numbers that nodes need. */
export interface ShapeTensor {
  readonly name: string;
  readonly numbers: readonly number[];
}

interface InitializerOptions {
  readonly shape?: ShapeTensor | undefined;
  /** Whether the new tensors are factors of a weight that lies as [out, in]. */
  readonly turned?: boolean;
}

/** The new tensors, in the file or by where they lie in another. */
export function initializersOf(
  { by, data }: Replacement,
  { shape, turned = false }: InitializerOptions = {},
): Pick<Cut, 'parts' | 'places'> {
  const parts = new PartList();
  const places = new Map<string, ByteRange>();
  for (const [i, tensor] of by.entries()) {
    const { name, dtype, shape: dims } = tensor;
    const place = data?.places.get(name);
    const doc = turned && i === 0 ? OF_TURNED : undefined;
    if (place !== undefined) {
      parts.bytes(field(5, externalTensor(name, dtype, dims, data!.location, place, doc)));
      continue;
    }
    const bytes = bytesOf(tensor);
    const start = tensorStart(name, dtype, dims, bytes, doc);
    parts.bytes(joined(prefix(5, start.length + bytes), start));
    places.set(name, { offset: parts.end, bytes });
    parts.tensor(name, bytes);
  }
  if (shape !== undefined) parts.bytes(field(5, integersTensor(shape.name, shape.numbers)));
  return { parts, places };
}

/**
 * Removes the input that an initialiser may be as well; in old versions the new ones have to be.
 */
export function inputCuts(
  { wiring, graph, irVersion }: SplicedFile,
  { info, by }: Replacement,
  shape?: ShapeTensor,
): Cut[] {
  const input = wiring.input(info.name);
  if (input === undefined) return [];
  const parts = new PartList();
  if (irVersion < OWN_INITIALIZERS_SINCE) {
    const added = [
      ...by,
      ...(shape ? [{ name: shape.name, dtype: 'I64', shape: [shape.numbers.length] } as const] : []),
    ];
    for (const { name, dtype, shape: dims } of added) parts.bytes(field(11, valueInfo(name, dtype, dims)));
  }
  return [{ ...input, within: [graph], parts }];
}

/** Operators that multiply by several weights in one. */
const FUSED = /Attention/;

/** Refuses a weight that something else uses than nodes which multiply by it. */
export function requireOnly(name: string, use: WeightUse): WeightUse {
  const { multiplications, others } = use;
  const users = [...new Set(others)];
  if (users.length === 0 && multiplications.length > 0) return use;
  if (users.length === 0) throw refusal(name, 'no node of the graph multiplies by it from the right');
  const fused = users.find((user) => FUSED.test(user));
  if (fused !== undefined) {
    const hint = 'Compress the model before an optimiser fuses its attention.';
    throw refusal(name, `the fused operator ${fused} multiplies by it`, hint);
  }
  const text = users.slice(0, 3).join(', ');
  throw refusal(name, `it is used by ${text} ${multiplications.length === 0 ? 'alone' : 'too'}`);
}

export function refusal(
  name: string,
  why: string,
  hint = 'Leave this weight as it is, and choose others.',
): LowRankError {
  return new LowRankError('ERR_UNSUPPORTED', `${name}: cannot become factors: ${why}`, { hint });
}
