import { ArgumentError } from '../errors.js';
import { mostSimilar } from '../text/similar.js';
import { FAMILIES } from './families/families.js';
import { stacksOf } from './families/family.js';
import { GROUPS, type GroupType, LAYER_TYPES, type LayerType, MATRIX_TYPES, type MatrixType } from './types.js';

/**
 * Returns a type by its name.
 *
 * @throws {@link ArgumentError} if `name` is none of {@link LAYER_TYPES}; the message suggests the
 *   type that a family's own name stands for, as `fc_in` for `gate_proj`.
 */
export function asLayerType(name: string, argument = 'type'): LayerType {
  const found = LAYER_TYPES.find((type) => type === name);
  if (found !== undefined) return found;
  const meant = meantTypes(name).map((type) => `\`${type}\``);
  const suggestion = meant.length === 0 ? '' : ` (did you mean ${meant.join(' or ')}?)`;
  throw new ArgumentError(argument, `one of ${LAYER_TYPES.join(', ')}${suggestion}`, name);
}

/** Returns the types that a name probably stands for. */
function meantTypes(name: string): readonly LayerType[] {
  const called = new Set<MatrixType>();
  const fused = new Set<GroupType>();
  for (const { type, path, group } of familyNames()) {
    if (!path.includes(name.toLowerCase())) continue;
    if (group === undefined) called.add(type);
    else fused.add(group);
  }
  const types = MATRIX_TYPES.filter((type) => called.has(type));
  if (types.length === 0 && fused.size > 0) return [...fused];
  // The name of a module around several matrices stands for their group.
  const around = (['attn', 'mlp'] as const).find(
    (group) => types.length > 1 && types.every((type) => (GROUPS[group] as readonly MatrixType[]).includes(type)),
  );
  if (around !== undefined && types.length === GROUPS[around].length) return [around];
  if (types.length > 0) return types;
  const similar = mostSimilar(name, LAYER_TYPES);
  return similar === undefined ? [] : LAYER_TYPES.filter((type) => type === similar);
}

interface FamilyName {
  readonly type: MatrixType;
  /** The words of the tensor's name. */
  readonly path: readonly string[];
  /** The group of a fused tensor. */
  readonly group: GroupType | undefined;
}

function familyNames(): FamilyName[] {
  return FAMILIES.flatMap(({ namings }) =>
    namings.flatMap(stacksOf).flatMap(({ matrices }) =>
      MATRIX_TYPES.flatMap((type) =>
        (matrices[type] ?? []).map(({ name, part }) => ({
          type,
          path: name.toLowerCase().split('.'),
          group:
            part === undefined ? undefined : (GROUPS.attn as readonly MatrixType[]).includes(type) ? 'attn' : 'mlp',
        })),
      ),
    ),
  );
}
