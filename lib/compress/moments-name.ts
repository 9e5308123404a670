/** What wraps a model, and stands before the names of its layers in one program alone. */
const WRAPPERS = /^(?:(?:model|base_model|module|transformer|gpt_neox|bert|roberta|distilbert)\.)+(?=.*\.)/;

/**
 * Finds the name under which a file of moments has a weight: one of the weight's own, or the only
 * one that differs in what wraps the model, as `model.transformer.h.0.mlp.c_fc.weight` of an export
 * does from `transformer.h.0.mlp.c_fc.weight`.
 */
export function momentsName(weights: ReadonlySet<string>, names: readonly string[]): string | undefined {
  const own = names.find((name) => weights.has(name));
  if (own !== undefined) return own;
  const bare = new Set(names.map(withoutWrappers));
  const alike = [...weights].filter((weight) => bare.has(withoutWrappers(weight)));
  return alike.length === 1 ? alike[0] : undefined;
}

function withoutWrappers(name: string): string {
  return name.replace(WRAPPERS, '');
}
