import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { ArgumentError, describe, LowRankError } from '../errors.js';
import { FAMILIES } from './families/families.js';
import type { Family } from './families/family.js';
import type { Config } from './sizes.js';

/** A family, and the part of config.json that describes its layers. */
export interface Recognised {
  readonly family: Family;
  readonly config: Config;
  /** The whole of config.json: other parts of it may describe other layers. */
  readonly whole: Config;
}

/**
 * Returns the family that config.json names by `model_type` or `architectures`, in that order; for
 * a model of several parts, the family of its `text_config`; for a GGUF file, that of its
 * `general.architecture`. Returns undefined without a config, or if it names no known family.
 */
export function recognise(config: Config | undefined): Recognised | undefined {
  if (config === undefined) return undefined;
  const text = isConfig(config.text_config) ? config.text_config : undefined;
  for (const candidate of text === undefined ? [config] : [text, config]) {
    const family = familyOf(candidate);
    if (family !== undefined) return { family, config: text ?? config, whole: config };
  }
  return undefined;
}

/**
 * Returns the family called `name` or, without a name, the one that config.json names.
 *
 * @throws {@link ArgumentError} for a name that is not in {@link FAMILIES}; `ERR_UNSUPPORTED` if
 *   config.json is missing or names no known family.
 */
export function requireFamily(checkpoint: Pick<Checkpoint, 'config' | 'path'>, name?: string): Recognised {
  const known = FAMILIES.map((family) => family.name).join(', ');
  if (name !== undefined) {
    const family = FAMILIES.find((candidate) => candidate.name === name);
    if (family === undefined) throw new ArgumentError('family', `one of ${known}`, name);
    const config = checkpoint.config ?? {};
    return { family, config: isConfig(config.text_config) ? config.text_config : config, whole: config };
  }
  const found = recognise(checkpoint.config);
  if (found !== undefined) return found;
  const { model_type, architectures, [GGUF_ARCHITECTURE]: gguf } = checkpoint.config ?? {};
  const named =
    gguf === undefined
      ? `model_type ${describe(model_type)} or architectures ${describe(architectures)}`
      : `the GGUF architecture ${describe(gguf)}`;
  throw new LowRankError(
    'ERR_UNSUPPORTED',
    checkpoint.config === undefined
      ? `${checkpoint.path}: no config.json names the model's family`
      : `${checkpoint.path}: no known family has ${named}`,
    { hint: `Specify a family with the same tensor names (--family ${known}), or choose tensors by name (--tensor).` },
  );
}

/** The key that marks a config made from GGUF metadata; no config.json has it. */
const GGUF_ARCHITECTURE = 'general.architecture';

function familyOf({ model_type, architectures, [GGUF_ARCHITECTURE]: gguf }: Config): Family | undefined {
  // GGUF has its own names: the same name may mean another model in the other list.
  if (gguf !== undefined) return FAMILIES.find((family) => family.gguf?.architectures.some((name) => name === gguf));
  const byType = FAMILIES.find(({ modelTypes }) => modelTypes.some((type) => type === model_type));
  if (byType !== undefined || !Array.isArray(architectures)) return byType;
  const stems = architectures.filter((name) => typeof name === 'string').map(stem);
  return FAMILIES.find((family) => family.architectures.some((name) => stems.includes(name)));
}

/** Reduces `GPT2LMHeadModel`, `GPT2ForTokenClassification` and `GPT2Model` to GPT2. */
function stem(architecture: string): string {
  return architecture.replace(/(?:For[A-Z]\w*|LMHeadModel|DoubleHeadsModel|TextModel|Model)$/, '');
}

/** Whether a member of config.json is a configuration of its own. */
export function isConfig(value: unknown): value is Config {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
