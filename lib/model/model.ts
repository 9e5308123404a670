import type { Checkpoint, Orientation, TensorInfo } from '../checkpoint/checkpoint.js';
import { ArgumentError, LowRankError } from '../errors.js';
import type { Slice } from '../tensor/slice.js';
import { type Family, type FusedPart, stacksOf, type TensorNaming } from './families/family.js';
import { sliceOfPart } from './fusion.js';
import { type Layers, layerNumbers } from './layers.js';
import { NameReader } from './naming.js';
import { contradiction, inferOrientations, type LayerMatrix } from './orientation.js';
import { isConfig, type Recognised, recognise, requireFamily } from './recognise.js';
import type { Config } from './sizes.js';
import { GROUPS, type GroupType, type LayerType, MATRIX_TYPES, type MatrixType } from './types.js';

/** A matrix of a model: a tensor, or a slice of one. */
export interface Target {
  readonly tensor: string;
  readonly layer: number;
  /** The name of a group if the tensor is taken whole and consists of several fused matrices. */
  readonly type: MatrixType | GroupType;
  /** Undefined for the whole tensor. */
  readonly slice: Slice | undefined;
}

/** The role of a tensor in a model. */
export interface Role {
  readonly layer: number;
  /** The matrices that the tensor contains. */
  readonly types: readonly MatrixType[];
  /** How it is stored; undefined if its shape and config.json contradict each other. */
  readonly orientation: Orientation | undefined;
}

interface LocatedMatrix extends LayerMatrix {
  readonly info: TensorInfo;
  /** The part, with the axis of the tensor as it is stored. */
  readonly part: FusedPart | undefined;
  /** What describes the layers of its stack. */
  readonly config: Config;
}

/** A checkpoint whose matrices can be selected by layer and type. */
export class Model {
  readonly family: Family;
  /**
   * The number of layers, which are numbered from 0. If there are two stacks, such as an encoder
   * and a decoder, the second is numbered on from the first.
   */
  readonly layers: number;
  readonly #tensors: Checkpoint['tensors'];
  readonly #places: ReadonlyMap<number, readonly LocatedMatrix[]>;
  readonly #roles = new Map<string, Role>();

  /**
   * Returns the model in a checkpoint; undefined if config.json names no known family, or if no
   * tensor has the family's names, as for an adapter beside a model's config.json.
   *
   * @throws {@link LowRankError} as the constructor, if a `family` is given.
   */
  static find(checkpoint: Pick<Checkpoint, 'tensors' | 'config' | 'path'>, family?: string): Model | undefined {
    requireCheckpoint(checkpoint);
    if (family === undefined && recognise(checkpoint.config) === undefined) return undefined;
    try {
      return new Model(checkpoint, family);
    } catch (error) {
      if (family === undefined && error instanceof LowRankError && error.code === 'ERR_NOT_FOUND') return undefined;
      throw error;
    }
  }

  /**
   * @param family the family's name, if config.json does not name it or is to be overridden
   * @throws {@link ArgumentError} for an unknown family; `ERR_UNSUPPORTED` if the family cannot be
   *   determined; `ERR_NOT_FOUND` if no tensor has the family's names.
   */
  constructor(checkpoint: Pick<Checkpoint, 'tensors' | 'config' | 'path'>, family?: string) {
    requireCheckpoint(checkpoint);
    const recognised = requireFamily(checkpoint, family);
    this.family = recognised.family;
    this.#tensors = checkpoint.tensors;
    const located = locate(checkpoint, recognised);
    const orientations = orientationsOf([...located.values()].flat());
    this.#places = new Map(
      [...located].map(([layer, places]) => [layer, places.map((it) => asStored(it, orientations))]),
    );
    this.layers = 1 + [...this.#places.keys()].reduce((last, layer) => Math.max(last, layer), 0);
    for (const [layer, places] of this.#places) {
      for (const { info, type } of places) {
        const types = this.#roles.get(info.name)?.types ?? [];
        this.#roles.set(info.name, { layer, types: [...types, type], orientation: orientations.get(info.name) });
      }
    }
  }

  /** The types that at least one layer has, including groups, in the order of the paper's code. */
  get types(): LayerType[] {
    return typesOf([...this.#places.values()].flat());
  }

  /** Returns the role of a tensor; undefined if it is not a matrix of a layer. */
  roleOf(tensor: string): Role | undefined {
    return this.#roles.get(tensor);
  }

  /**
   * Returns how a layer's tensor is stored; undefined for any other tensor.
   *
   * @throws {@link LowRankError} `ERR_SHAPE` if its shape and config.json contradict each other.
   */
  orientationOf(tensor: string): Orientation | undefined {
    const role = this.#roles.get(tensor);
    if (role === undefined || role.orientation !== undefined) return role?.orientation;
    const { config } = this.#places.get(role.layer)!.find(({ info }) => info.name === tensor)!;
    throw contradiction(this.#tensors.get(tensor)!, config);
  }

  /** The orientations of the layers' tensors, as far as they are known. */
  get orientations(): readonly Orientation[] {
    const all = [...this.#roles.values()].map(({ orientation }) => orientation);
    return [...new Set(all)].filter((orientation) => orientation !== undefined);
  }

  /**
   * Selects the matrices of some layers and types, each once per type that names it.
   *
   * `q_proj` of a fused tensor is its slice; `attn`, `mlp` and `all` are whole stored tensors.
   *
   * @throws {@link LowRankError} `ERR_NOT_FOUND` for a layer that is out of range or lacks the
   *   type; with `'all'` layers, if no layer has it.
   */
  select(layers: Layers, types: readonly LayerType[]): Target[] {
    const wanted = types.filter((type) => type !== 'dont');
    const chosen = layers === 'all' ? 'all' : layerNumbers(layers, this.layers);
    const numbers = chosen === 'all' ? [...this.#places.keys()].sort((a, b) => a - b) : chosen;
    return wanted.flatMap((type) => {
      const found = numbers.map((layer) => this.#targets(layer, type));
      const missing =
        chosen === 'all' ? (found.flat().length === 0 ? 'all' : undefined) : chosen.find((_, i) => !found[i]!.length);
      if (missing !== undefined) throw this.#lacks(missing, type);
      return found.flat();
    });
  }

  #targets(layer: number, type: Exclude<LayerType, 'dont'>): Target[] {
    const places = this.#places.get(layer) ?? [];
    if (!isGroup(type)) {
      return places
        .filter((place) => place.type === type)
        .map(({ info, part, config }) => ({
          tensor: info.name,
          layer,
          type,
          slice: part && sliceOfPart(part, info.name, info.shape, config),
        }));
    }
    const members: readonly MatrixType[] = GROUPS[type];
    const whole = new Map<string, Target>();
    for (const { info, type: member, part } of places) {
      if (!members.includes(member) || whole.has(info.name)) continue;
      const named = part === undefined ? member : groupOf(member);
      whole.set(info.name, { tensor: info.name, layer, type: named, slice: undefined });
    }
    return [...whole.values()];
  }

  #lacks(layer: number | 'all', type: LayerType): LowRankError {
    const places = layer === 'all' ? [...this.#places.values()].flat() : (this.#places.get(layer) ?? []);
    const has = typesOf(places).join(', ');
    return layer === 'all'
      ? new LowRankError('ERR_NOT_FOUND', `${type}: this ${this.family.name} model has ${has}`)
      : new LowRankError('ERR_NOT_FOUND', `layer ${layer}: no ${type}; this layer has ${has || 'no known matrix'}`);
  }
}

/**
 * The most module names before the model's own. An exported module often wraps the model to return
 * only the logits, or wraps such a wrapper; their names then precede all others.
 */
const MAX_WRAPPERS = 2;

type Places = Map<number, LocatedMatrix[]>;

/**
 * Finds the tensors that are a layer's matrices, by layer and in the order of {@link MATRIX_TYPES}.
 */
function locate({ tensors, path }: Pick<Checkpoint, 'tensors' | 'path'>, recognised: Recognised): Places {
  const { family } = recognised;
  for (let wrappers = 0; wrappers <= MAX_WRAPPERS; wrappers++) {
    const named = [...tensors.values()].flatMap((info) => familyName(info, wrappers));
    for (const naming of family.namings) {
      if (!hasRequired(naming, named)) continue;
      const places: Places = new Map();
      for (const stack of stacksOf(naming)) {
        const first = 1 + Math.max(-1, ...places.keys());
        for (const [layer, found] of placesInStack(stack, recognised, named)) places.set(first + layer, found);
      }
      if (places.size > 0) return places;
    }
  }
  const { prefixes, matrices } = family.namings[0]!;
  throw new LowRankError(
    'ERR_NOT_FOUND',
    `${path}: no tensor has a name of family ${family.name}, such as ${prefixes[0]}0.${Object.values(matrices)[0]![0]!.name}`,
    {
      hint: 'List the names with: lowrank inspect --tensors. Then choose another family (--family) or tensors by name (--tensor).',
    },
  );
}

interface NamedTensor {
  readonly name: string;
  readonly info: TensorInfo;
}

/**
 * Returns the names by which a family may know a tensor. Only graphs have wrappers: other files
 * contain the model alone.
 */
function familyName(info: TensorInfo, wrappers: number): NamedTensor[] {
  const name = info.alias ?? info.name;
  if (wrappers === 0) return [{ name, info }];
  if (info.orientation === undefined) return [];
  return [{ name: name.split('.').slice(wrappers).join('.'), info }];
}

/** Whether a checkpoint has what a naming requires. */
function hasRequired(naming: TensorNaming, named: readonly NamedTensor[]): boolean {
  const { requires } = naming;
  if (requires === undefined) return true;
  const prefixes = stacksOf(naming).flatMap((stack) => stack.prefixes);
  return named.some(({ name }) => name.endsWith(requires) && prefixes.some((prefix) => name.startsWith(prefix)));
}

function placesInStack(stack: TensorNaming, recognised: Recognised, named: readonly NamedTensor[]): Places {
  for (const prefix of stack.prefixes) {
    const places = placesUnder(prefix, stack, recognised, named);
    if (places.size > 0) return places;
  }
  return new Map();
}

function placesUnder(
  prefix: string,
  naming: TensorNaming,
  { family, config, whole }: Recognised,
  named: readonly NamedTensor[],
): Places {
  const reader = new NameReader(naming, prefix);
  const part = naming.config === undefined ? undefined : whole[naming.config];
  const own = isConfig(part) ? part : config;
  const places: Places = new Map();
  for (const { name, info } of named) {
    const place = reader.read(name);
    if (place === undefined) continue;
    const found = places.get(place.layer) ?? [];
    for (const { type, location } of place.matrices) {
      const { part } = location;
      const defined = location.orientation ?? naming.orientation;
      const usual = defined ?? family.orientation;
      const certain = info.orientation ?? defined;
      found.push({ info, type, part, fusion: part?.fusion, usual, certain, config: own });
    }
    places.set(place.layer, found);
  }
  for (const found of places.values())
    found.sort((a, b) => MATRIX_TYPES.indexOf(a.type) - MATRIX_TYPES.indexOf(b.type));
  return places;
}

/** Infers the orientations of each stack by itself: their hidden sizes may differ. */
function orientationsOf(places: readonly LocatedMatrix[]): ReturnType<typeof inferOrientations> {
  const configs = [...new Set(places.map(({ config }) => config))];
  return new Map(
    configs.flatMap((config) => [
      ...inferOrientations(
        places.filter((place) => place.config === config),
        config,
      ),
    ]),
  );
}

/** Swaps the axis of a part if the tensor is stored in the other orientation than usual. */
function asStored(place: LocatedMatrix, orientations: ReturnType<typeof inferOrientations>): LocatedMatrix {
  const { info, part, usual } = place;
  const turned = (orientations.get(info.name) ?? usual) !== usual;
  return part && turned ? { ...place, part: { ...part, axis: part.axis === 'rows' ? 'columns' : 'rows' } } : place;
}

function typesOf(places: readonly LocatedMatrix[]): LayerType[] {
  const matrices = MATRIX_TYPES.filter((type) => places.some((place) => place.type === type));
  const groups = (Object.keys(GROUPS) as GroupType[]).filter((group) =>
    GROUPS[group].some((type) => matrices.includes(type)),
  );
  return [...matrices, ...groups];
}

/** Returns the smallest group of a type, which stands for a tensor that fuses it with others. */
function groupOf(member: MatrixType): GroupType {
  const names: readonly GroupType[] = ['attn', 'cross_attn', 'mlp'];
  return names.find((name) => GROUPS[name].some((type) => type === member))!;
}

function isGroup(type: LayerType): type is GroupType {
  return Object.hasOwn(GROUPS, type);
}

function requireCheckpoint(checkpoint: Partial<Checkpoint> | null | undefined): void {
  if (checkpoint?.tensors instanceof Map) return;
  throw new ArgumentError('checkpoint', 'a checkpoint from openCheckpoint', checkpoint);
}
