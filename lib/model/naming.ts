import type { MatrixLocation, TensorNaming } from './families/family.js';
import { MATRIX_TYPES, type MatrixType } from './types.js';

/** A tensor's place in a layer, as one naming tells it by the tensor's name. */
export interface MatrixPlace {
  readonly prefix: string;
  readonly layer: number;
  /** The matrices that the tensor contains, with their locations in the naming. */
  readonly matrices: readonly { readonly type: MatrixType; readonly location: MatrixLocation }[];
  /** The number of the expert; undefined for a tensor that is not of one expert alone. */
  readonly expert: number | undefined;
}

/** Reads names of tensors; made once for a naming and a prefix. */
export class NameReader {
  readonly #patterns: readonly {
    readonly type: MatrixType;
    readonly location: MatrixLocation;
    readonly pattern: RegExp;
  }[];

  constructor(
    naming: TensorNaming,
    private readonly prefix: string,
  ) {
    this.#patterns = MATRIX_TYPES.flatMap((type) =>
      (naming.matrices[type] ?? []).map((location) => ({
        type,
        location,
        pattern: new RegExp(`^${escaped(location.name).replace('#', '(\\d{1,6})')}$`),
      })),
    );
  }

  /** Returns the place of a tensor; undefined for one that is no matrix of a layer. */
  read(name: string): MatrixPlace | undefined {
    const { prefix } = this;
    if (!name.startsWith(prefix)) return undefined;
    const [, layer, rest] = /^(\d{1,6})\.(.+)$/s.exec(name.slice(prefix.length)) ?? [];
    if (layer === undefined || rest === undefined) return undefined;
    const found = this.#patterns.flatMap(({ type, location, pattern }) => {
      const match = pattern.exec(rest);
      return match === null ? [] : [{ type, location, expert: match[1] }];
    });
    if (found.length === 0) return undefined;
    const expert = found[0]!.expert;
    return {
      prefix,
      layer: Number(layer),
      matrices: found.map(({ type, location }) => ({ type, location })),
      expert: expert === undefined ? undefined : Number(expert),
    };
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
