import { moduleOf } from '../adapters/modules.js';
import type { Format } from '../checkpoint/checkpoint.js';
import { formatNamed } from '../checkpoint/formats.js';

/**
 * Returns what the names of a weight's factors begin with: in safetensors its module, so that the
 * file is the state dict of modules with a module `lowrank` inside; in ONNX, where weights may have
 * any name, the weight's own name.
 */
export function stemOf(weight: string, format: Format): string {
  return formatNamed(format).hasModuleNames ? (moduleOf(weight) ?? weight) : weight;
}

/** Returns the name of the weight whose factors' names begin with a stem. */
export function weightOf(stem: string, format: Format): string {
  return formatNamed(format).hasModuleNames ? `${stem}.weight` : stem;
}

/** Returns the names of the factors under a stem. */
export function factorNames(stem: string): readonly [left: string, right: string, order: string] {
  return [`${stem}.lowrank.left`, `${stem}.lowrank.right`, `${stem}.lowrank.order`];
}

/** Returns the stem of a factor; undefined for any other tensor. */
export function stemOfFactor(tensor: string): string | undefined {
  return /^(.+)\.lowrank\.(?:left|right|order)$/s.exec(tensor)?.[1];
}
