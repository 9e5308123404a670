import type { WritableType } from '../tensor/dtype.js';
import { type LoraAdapter, type LoraKind, type LoraModule, type PeftFactors, stored } from './adapter.js';
import { configWithRanks, type PeftConfig } from './peft-config.js';

/** The wanted update of a module: B A, without a scaling. */
export interface Update extends PeftFactors {
  readonly name: string;
  readonly kind: LoraKind;
  readonly dtype: WritableType;
}

/**
 * Makes the modules and configuration of an adapter from updates. B is divided by the scalings that
 * follow from the ranks, so that scaling * B A is the update, up to the rounding of its dtype. If
 * all ranks are equal, every scaling is 1.
 */
export function assemble(config: PeftConfig, updates: readonly Update[]): Pick<LoraAdapter, 'config' | 'modules'> {
  const ranks = new Map(updates.map(({ name, a }) => [name, a.shape[0]!]));
  const changed = configWithRanks(config, ranks);
  const alpha = changed.lora_alpha as number;
  const modules = updates.map((update) => asModule(update, alpha));
  return { config: changed, modules: new Map(modules.map((module) => [module.name, module])) };
}

/**
 * Makes a module with the scaling alpha / rank: B is divided by it, so that scaling * B A is the
 * update.
 */
export function asModule({ name, kind, dtype, a, b }: Update, alpha: number): LoraModule {
  const rank = a.shape[0]!;
  const scaling = alpha / rank;
  const scaled = scaling === 1 ? b : { data: b.data.map((value) => value / scaling), shape: b.shape };
  return {
    name,
    kind,
    rank,
    alpha,
    scaling,
    a: stored(a, dtype, `${name} lora_A`),
    b: stored(scaled, dtype, `${name} lora_B`),
  };
}
