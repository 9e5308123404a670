import type { Orientation } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';
import { FAMILIES } from './families/families.js';
import type { Family, MatrixLocation, TensorNaming } from './families/family.js';
import { GGUF_BLOCKS } from './families/gguf.js';
import { type MatrixPlace, NameReader } from './naming.js';
import { recognise } from './recognise.js';
import { headsOf, type RowOrder } from './row-order.js';
import type { Config } from './sizes.js';
import type { MatrixType } from './types.js';

const WEIGHT = '.weight';
const EMBEDDING = { gguf: 'token_embd', module: /(?:^|\.)(?:embed_tokens|wte|embed_in|word_embeddings)$/ };
const HEAD = { gguf: 'output', module: /(?:^|\.)(?:lm_head|embed_out)$/ };

/** The other name of a module. */
export interface Counterpart {
  readonly module: string;
  /** How the rows of the weight lie in GGUF; undefined if in PyTorch's order. */
  readonly rows: RowOrder | undefined;
}

/**
 * The names that the modules of a model have in PyTorch and in GGUF, both without `.weight`: such
 * as `model.layers.0.self_attn.q_proj` and `blk.0.attn_q`. Norms, biases and experts are not known.
 */
export class GgufNames {
  /** `general.architecture` */
  readonly architecture: string;
  readonly #family: Family;
  readonly #config: Config;
  readonly #ggufNaming: TensorNaming;
  readonly #gguf: NameReader;
  readonly #modules: readonly { readonly naming: TensorNaming; readonly readers: readonly NameReader[] }[];

  /**
   * @param config config.json, or the metadata of a GGUF file in its terms
   * @param path where it was read, for messages
   * @throws LowRankError `ERR_UNSUPPORTED` for a model whose names are not known.
   */
  constructor(config: Config | undefined, path: string) {
    const recognised = recognise(config);
    const architecture = architectureIn(config);
    if (recognised === undefined || architecture === undefined) throw unknown(config, path);
    this.architecture = architecture;
    this.#family = recognised.family;
    this.#config = recognised.config;
    const { namings } = recognised.family;
    this.#ggufNaming = ggufNaming(recognised.family)!;
    this.#gguf = new NameReader(this.#ggufNaming, GGUF_BLOCKS);
    this.#modules = namings
      .filter(({ prefixes }) => !prefixes.includes(GGUF_BLOCKS))
      .map((naming) => ({ naming, readers: naming.prefixes.map((prefix) => new NameReader(naming, prefix)) }));
  }

  /** Returns the names of a model; undefined if they are not known. */
  static find(config: Config | undefined): GgufNames | undefined {
    return architectureIn(config) === undefined ? undefined : new GgufNames(config, '');
  }

  /** How PyTorch's code stores the weights of layers. */
  get orientation(): Orientation {
    return this.#family.orientation;
  }

  /**
   * Returns GGUF's name of a module of PyTorch's; undefined if there is none, or it is not known.
   */
  inGguf(module: string): Counterpart | undefined {
    for (const { gguf, module: pattern } of [EMBEDDING, HEAD]) {
      if (pattern.test(module)) return { module: gguf, rows: undefined };
    }
    for (const { readers } of this.#modules) {
      const place = firstOf(readers, (reader) => reader.read(module + WEIGHT));
      if (place === undefined || place.expert !== undefined) continue;
      const { type, location } = place.matrices[0]!;
      const name = firstLike(location, this.#ggufLocations(type))?.name;
      if (name === undefined) continue;
      return { module: withoutWeight(`${GGUF_BLOCKS}${place.layer}.${name}`), rows: this.#rows(type, location) };
    }
    return undefined;
  }

  /**
   * Returns PyTorch's name of a module of GGUF's; undefined as {@link inGguf}.
   *
   * @param exists tells which modules the model has, if that is known: models are saved with
   *   several prefixes
   */
  inPyTorch(module: string, exists?: (module: string) => boolean): Counterpart | undefined {
    const { embedding = 'model.embed_tokens', head = 'lm_head' } = this.#family.gguf!;
    if (module === EMBEDDING.gguf) return { module: embedding, rows: undefined };
    if (module === HEAD.gguf) return { module: head, rows: undefined };
    const place = this.#gguf.read(module + WEIGHT);
    if (place === undefined || place.expert !== undefined) return undefined;
    const { type, location: own } = place.matrices[0]!;
    // Experts that share a tensor have other names than the matrix of a layer without experts.
    if (firstLike(own, this.#ggufLocations(type)) !== own) return undefined;
    for (const { naming } of this.#modules) {
      const location = firstLike(own, naming.matrices[type] ?? []);
      if (location === undefined) continue;
      const names = naming.prefixes.map((prefix) => withoutWeight(`${prefix}${place.layer}.${location.name}`));
      const found = exists === undefined ? undefined : names.find(exists);
      return { module: found ?? names[0]!, rows: this.#rows(type, location) };
    }
    return undefined;
  }

  #ggufLocations(type: MatrixType): readonly MatrixLocation[] {
    return this.#ggufNaming.matrices[type] ?? [];
  }

  /** @param location PyTorch's */
  #rows(type: MatrixType, { part }: MatrixLocation): RowOrder | undefined {
    if (part?.fusion === 'interleaved') {
      const [queries, heads] = [headsOf(this.#config, 'q_proj'), headsOf(this.#config, 'k_proj')];
      return { kind: 'interleaved', heads, queries: queries / heads };
    }
    if (part !== undefined || (type !== 'q_proj' && type !== 'k_proj')) return undefined;
    return this.#family.gguf!.paired?.includes(this.architecture)
      ? { kind: 'paired', heads: headsOf(this.#config, type) }
      : undefined;
  }
}

/**
 * Returns the names in GGUF of the tensors of a layer that hold matrices of some types, alone or
 * with others; those of experts are not known.
 */
export function tensorsInGguf(family: Family, layer: number, types: readonly MatrixType[]): string[] {
  const locations = types.flatMap((type) => ggufNaming(family)?.matrices[type] ?? []);
  return [...new Set(locations.filter(isWhole).map(({ name }) => `${GGUF_BLOCKS}${layer}.${name}`))];
}

function ggufNaming({ namings }: Family): TensorNaming | undefined {
  return namings.find(({ prefixes }) => prefixes.includes(GGUF_BLOCKS));
}

/** Whether this is the place of no single expert. */
function isWhole({ name }: MatrixLocation): boolean {
  return !name.includes('#');
}

/** The GGUF architecture of a config, if it is one of the known. */
function architectureIn(config: Config | undefined): string | undefined {
  const recognised = recognise(config);
  if (config === undefined || recognised === undefined) return undefined;
  const converted = new Map(Object.entries(recognised.family.gguf?.converted ?? {}));
  const stated = config['general.architecture'];
  if (stated !== undefined) return [...converted.values()].find((name) => name === stated);
  return [config, recognised.config].map((each) => converted.get(String(each.model_type))).find(Boolean);
}

/**
 * Returns the first location, of no single expert, that holds one matrix like another, or several
 * like it.
 */
function firstLike(one: MatrixLocation, among: readonly MatrixLocation[]): MatrixLocation | undefined {
  return among.find((other) => (one.part === undefined) === (other.part === undefined) && isWhole(other));
}

function firstOf(
  readers: readonly NameReader[],
  read: (reader: NameReader) => MatrixPlace | undefined,
): MatrixPlace | undefined {
  for (const reader of readers) {
    const found = read(reader);
    if (found !== undefined) return found;
  }
  return undefined;
}

function withoutWeight(name: string): string {
  return name.slice(0, -WEIGHT.length);
}

function knownArchitectures(): string[] {
  return [...new Set(FAMILIES.flatMap(({ gguf }) => Object.values(gguf?.converted ?? {})))];
}

function unknown(config: Config | undefined, path: string): LowRankError {
  const named =
    config === undefined
      ? 'no config.json or metadata name its architecture'
      : `its architecture (${describe(config['general.architecture'] ?? config.model_type)}) is not one of those whose names in GGUF are known`;
  return new LowRankError('ERR_UNSUPPORTED', `${path}: ${named}`, {
    hint: `Known are: ${knownArchitectures().join(', ')}.`,
  });
}
