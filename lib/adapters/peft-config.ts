import { CheckpointError, describe, LowRankError } from '../errors.js';
import { firstMatches, isSimple } from '../model/bounded-match.js';

/** `adapter_config.json` as an object. */
export type PeftConfig = Readonly<Record<string, unknown>>;

/** PEFT's default if the configuration has none. */
const DEFAULT_RANK = 8;
const DEFAULT_ALPHA = 8;

/** Longer patterns do not come from a person or from PEFT. */
const MAX_PATTERN = 1000;

/**
 * Fields that do not affect that a module's update is scaling * B A: those that select modules,
 * describe the training, or locate the base. Every other field with a value counts as an obstacle,
 * so that additions of a later version of PEFT are refused by name instead of being overlooked.
 */
const HARMLESS = new Set([
  'task_type',
  'peft_type',
  'auto_mapping',
  'peft_version',
  'base_model_name_or_path',
  'revision',
  'inference_mode',
  'r',
  'lora_alpha',
  'rank_pattern',
  'alpha_pattern',
  'use_rslora',
  'fan_in_fan_out',
  'lora_dropout',
  'target_modules',
  'exclude_modules',
  'layers_to_transform',
  'layers_pattern',
  'megatron_config',
  'megatron_core',
  'loftq_config',
  'eva_config',
  'corda_config',
  'lora_ga_config',
  'runtime_config',
  'qalora_group_size',
]);

/**
 * Initialisations that keep the base weights. PiSSA, OLoRA, CorDA, LoftQ and the like change them.
 */
const PLAIN_INITS: readonly unknown[] = [undefined, null, true, false, 'gaussian', 'eva', 'orthogonal'];

/** Lists what makes an update more than scaling * B A, each as `field: value`. */
export function configObstacles(config: PeftConfig): string[] {
  return Object.entries(config)
    .filter(([field, value]) => {
      if (field === 'init_lora_weights') return !PLAIN_INITS.includes(value);
      if (field === 'bias') return value !== 'none' && !isUnset(value);
      return !HARMLESS.has(field) && !isUnset(value);
    })
    .map(([field, value]) => `${describe(field).slice(1, -1)}: ${describe(value)}`);
}

function isUnset(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return !value;
}

/** The ranks and scalings in a configuration. */
export interface Scalings {
  /** Returns alpha and the scaling of a module whose factors have this rank. */
  of(module: string, rank: number): { readonly alpha: number; readonly scaling: number };
  /** Returns the rank that PEFT will give a module when it loads the adapter. */
  rankOf(module: string): number;
}

/**
 * Reads ranks and alphas as PEFT does: the first pattern that matches the end of a module's path
 * (at a dot) or all of it.
 *
 * @param file - for messages
 * @throws CheckpointError `ERR_CHECKPOINT_FORMAT`, kind `InvalidAdapterConfig`, naming the field.
 */
export function readScalings(config: PeftConfig, file: string): Scalings {
  const rank = config.r ?? DEFAULT_RANK;
  if (!isRank(rank)) throw invalid(file, 'r', 'a whole number of at least 1', rank);
  const alpha = config.lora_alpha ?? DEFAULT_ALPHA;
  if (!isNumber(alpha)) throw invalid(file, 'lora_alpha', 'a number', alpha);
  const ranks = readPatterns(config, 'rank_pattern', isRank, 'a whole number of at least 1', file);
  const alphas = readPatterns(config, 'alpha_pattern', isNumber, 'a number', file);
  for (const field of ['use_rslora', 'fan_in_fan_out']) {
    const value = config[field] ?? false;
    if (typeof value !== 'boolean') throw invalid(file, field, 'true or false', value);
  }
  return {
    rankOf: (module) => ranks(module) ?? rank,
    of: (module, actual) => {
      const own = alphas(module) ?? alpha;
      return { alpha: own, scaling: own / (config.use_rslora === true ? Math.sqrt(actual) : actual) };
    },
  };
}

/**
 * Makes the configuration for modules of these ranks: the most frequent one as `r`, the others in
 * `rank_pattern` by full module names, and `lora_alpha` equal to `r`. So the scaling of a module is
 * r / rank even for programs that read the ranks from the tensors and do not support patterns.
 */
export function configWithRanks(config: PeftConfig, ranks: ReadonlyMap<string, number>): PeftConfig {
  const r = mostFrequent(ranks);
  return configWithScalings(config, ranks, new Map([...ranks.keys()].map((name) => [name, r])));
}

/** Makes the configuration for modules of these ranks and alphas, with the scaling alpha / rank. */
export function configWithScalings(
  config: PeftConfig,
  ranks: ReadonlyMap<string, number>,
  alphas: ReadonlyMap<string, number>,
): PeftConfig {
  const [r, alpha] = [mostFrequent(ranks), mostFrequent(alphas)];
  const patterns = (values: ReadonlyMap<string, number>, usual: number) =>
    Object.fromEntries([...values].flatMap(([name, value]) => (value === usual ? [] : [[exactPattern(name), value]])));
  return {
    ...config,
    r,
    lora_alpha: alpha,
    rank_pattern: patterns(ranks, r),
    alpha_pattern: patterns(alphas, alpha),
    use_rslora: false,
  };
}

/** Of several most frequent values the largest. */
function mostFrequent(values: ReadonlyMap<string, number>): number {
  const counts = new Map<number, number>();
  for (const value of values.values()) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([p, x], [q, y]) => y - x || q - p)[0]?.[0] ?? 1;
}

/**
 * PEFT puts an optional prefix before a pattern; only the anchor keeps it from matching a longer
 * path with this ending.
 */
function exactPattern(name: string): string {
  return `^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`;
}

function readPatterns(
  config: PeftConfig,
  field: string,
  isValid: (value: unknown) => value is number,
  expected: string,
  file: string,
): (module: string) => number | undefined {
  const given = config[field] ?? {};
  if (typeof given !== 'object' || Array.isArray(given)) throw invalid(file, field, 'an object', given);
  const patterns = Object.entries(given).map(([pattern, value]) => {
    if (!isValid(value)) throw invalid(file, `${field} ${describe(pattern)}`, expected, value);
    return { pattern, regex: toRegExp(pattern, field, file), value };
  });
  return (module) => {
    if (patterns.every(({ pattern }) => isSimple(pattern, module))) {
      return patterns.find(({ regex }) => regex.test(module))?.value;
    }
    try {
      const [first] = firstMatches(
        patterns.map(({ regex }) => regex),
        [module],
      );
      return patterns[first!]?.value;
    } catch (cause) {
      if (!(cause instanceof LowRankError)) throw cause;
      const expected = 'regular expressions that can be matched in a moment';
      throw invalid(file, field, expected, Object.keys(given), cause);
    }
  };
}

function toRegExp(pattern: string, field: string, file: string): RegExp {
  // Patterns that JavaScript accepts but reads differently from Python.
  const foreign = /\\[AZ]|\{,|\(\?P/.test(pattern) || pattern.length > MAX_PATTERN;
  try {
    if (!foreign) return new RegExp(`^(?:.*\\.)?(?:${pattern})$`);
  } catch {
    // Reported below.
  }
  throw invalid(
    file,
    field,
    `regular expressions that JavaScript supports too, of at most ${MAX_PATTERN} characters`,
    pattern,
  );
}

function invalid(file: string, field: string, expected: string, actual: unknown, cause?: unknown): CheckpointError {
  const message = `${field}: expected ${expected}, got ${describe(actual)}`;
  return new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidAdapterConfig', file, message, { cause });
}

function isRank(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
