import { basename, join } from 'node:path';
import type { TensorInfo } from '../checkpoint/checkpoint.js';
import { readConfig } from '../checkpoint/config.js';
import { open } from '../checkpoint/open.js';
import { ArgumentError, CheckpointError, describe, LowRankError } from '../errors.js';
import { absolutePath, exists } from '../files/files.js';
import { GgufNames } from '../model/gguf-names.js';
import { inverse, pyTorchRows, reordered } from '../model/row-order.js';
import type { Config } from '../model/sizes.js';
import { checkOptions, type OptionTypes, oneOf, text } from '../options.js';
import { WRITABLE_TYPES, type WritableType } from '../tensor/dtype.js';
import {
  factorsOf,
  type LoraAdapter,
  type LoraModule,
  type LoraTensor,
  requirePlain,
  requireTypeFor,
  stored,
} from './adapter.js';
import { adapterConfig } from './adapter-config.js';
import { weightName, weightOf } from './modules.js';
import { configWithScalings } from './peft-config.js';

const CONFIG = 'config.json';

/** The forms of adapter files. */
export const LORA_FORMS = ['peft', 'gguf'] as const;
/**
 * A form of adapter files.
 *
 * @useDeclaredType
 */
export type LoraForm = (typeof LORA_FORMS)[number];

export interface ConvertLoraOptions {
  /** The form of the result; by default the other one than the adapter's. */
  readonly to?: LoraForm | undefined;
  /**
   * The base model: a folder with config.json, with or without weights, a checkpoint of safetensors
   * or a GGUF file. By default the adapter's `base_model_name_or_path`, if that is a path.
   */
  readonly base?: string | undefined;
  /**
   * The type of the factors; F32 by default, as llama.cpp's converter has it. Q8_0 only in GGUF.
   */
  readonly dtype?: WritableType | undefined;
  /** `base_model_name_or_path` of a result in PEFT's form; by default the given `base`. */
  readonly baseName?: string | undefined;
}

const CONVERT_OPTIONS: OptionTypes<ConvertLoraOptions> = {
  to: oneOf(LORA_FORMS),
  base: text,
  dtype: oneOf(WRITABLE_TYPES),
  baseName: text,
};

/** What is known of a base model. */
interface BaseModel {
  readonly path: string;
  readonly config: Config | undefined;
  /** Undefined if only the configuration is there. */
  readonly tensors: ReadonlyMap<string, TensorInfo> | undefined;
}

/**
 * Converts an adapter from PEFT's form to GGUF, which llama.cpp loads, or back. Modules get the
 * names that the model has there, and rows of q and k the order that llama.cpp's converter gives
 * them; the numbers equal those of its `convert_lora_to_gguf.py`. GGUF has one alpha for all
 * modules: where a module's scaling differs (`use_rslora`, `alpha_pattern`), its B is multiplied by
 * what is missing.
 *
 * @throws {@link LowRankError} `ERR_UNSUPPORTED`, naming a module that has no counterpart, such as
 *   an expert, a model of unknown names, or what makes an update more than scaling * B A;
 *   `ERR_NOT_FOUND` for a module that the base model lacks; `ERR_SHAPE`; `ERR_ARGUMENT`; for
 *   reading the base as {@link openCheckpoint}.
 */
export async function convertLora(adapter: LoraAdapter, options?: ConvertLoraOptions): Promise<LoraAdapter> {
  const given = checkOptions(options, CONVERT_OPTIONS, 'convertLora');
  requirePlain(adapter, 'convert');
  const { to = adapter.architecture === undefined ? 'gguf' : 'peft', dtype = 'F32' } = given;
  const form: LoraForm = adapter.architecture === undefined ? 'peft' : 'gguf';
  if (to === form) throw new ArgumentError('to', 'another form than the adapter has', to);
  const base = await findBase(adapter, given.base);
  const converted = to === 'gguf' ? toGguf(adapter, requireBase(base)) : toPeft(adapter, base, given.baseName);
  requireTypeFor(converted.architecture, dtype);
  return { ...converted, modules: new Map([...converted.modules].map(([name, it]) => [name, asType(it, dtype)])) };
}

/**
 * Returns an adapter with the names of a checkpoint's format, converted if need be; keeps the
 * dtypes.
 */
export function inFormOf(base: BaseModel & { readonly format: string }, adapter: LoraAdapter): LoraAdapter {
  const { architecture } = adapter;
  if (base.format !== 'gguf') return architecture === undefined ? adapter : toPeft(adapter, base, undefined);
  if (architecture === undefined) return toGguf(adapter, base);
  requireArchitecture(architecture, base.config?.['general.architecture']);
  return adapter;
}

/**
 * @throws LowRankError `ERR_UNSUPPORTED` if an adapter in GGUF is for models of another
 * architecture.
 */
function requireArchitecture(own: string | undefined, base: unknown): void {
  if (own === base) return;
  const message = `the adapter is for the architecture ${describe(own)}, the base model has ${describe(base)}`;
  throw new LowRankError('ERR_UNSUPPORTED', message, { hint: 'Pass the model that the adapter belongs to.' });
}

function toGguf(adapter: LoraAdapter, base: BaseModel): LoraAdapter {
  const names = new GgufNames(base.config, base.path);
  const ofGguf = base.config?.['general.architecture'] !== undefined;
  const modules = [...adapter.modules.values()].map((module): [string, LoraModule] => {
    const found = names.inGguf(module.name);
    if (found === undefined) throw withoutCounterpart(module, 'GGUF');
    if (module.name.endsWith('lm_head') && base.config?.tie_word_embeddings === true) {
      throw new LowRankError('ERR_UNSUPPORTED', `${module.name}: the model's head is its embedding, also in GGUF`);
    }
    if (base.tensors !== undefined) weightOf({ ...base, tensors: base.tensors }, ofGguf ? found.module : module.name);
    const order = found.rows && pyTorchRows(found.rows, module.b.shape[0]!, module.name);
    return [found.module, { ...module, name: found.module, b: withRows(module.b, order) }];
  });
  const { architecture } = names;
  return { ...adapter, modules: new Map(modules), metadata: undefined, architecture, source: undefined };
}

function toPeft(adapter: LoraAdapter, base: BaseModel | undefined, baseName: string | undefined): LoraAdapter {
  const { architecture } = adapter;
  const ofGguf = base?.config?.['general.architecture'] !== undefined;
  const names = new GgufNames(base?.config ?? { 'general.architecture': architecture }, base?.path ?? 'the adapter');
  requireArchitecture(architecture, names.architecture);
  const tensors = ofGguf ? undefined : base?.tensors;
  const exists = tensors && ((module: string) => tensors.has(weightName(module)));
  const modules = [...adapter.modules.values()].map((module): [string, LoraModule] => {
    const found = names.inPyTorch(module.name, exists);
    if (found === undefined) throw withoutCounterpart(module, 'PyTorch');
    const order = found.rows && inverse(pyTorchRows(found.rows, module.b.shape[0]!, module.name));
    return [found.module, { ...module, name: found.module, b: withRows(module.b, order) }];
  });
  const described = modules.map(([name, { kind }]) => {
    const transposed = kind === 'linear' && names.orientation === 'in x out';
    return { name, kind, transposed, tensor: weightName(name) };
  });
  const model = { config: ofGguf ? undefined : base?.config, weights: tensors?.keys() };
  const config = configWithScalings(
    adapterConfig(model, described, baseName ?? base?.path ?? null),
    new Map(modules.map(([name, { rank }]) => [name, rank])),
    new Map(modules.map(([name, { alpha }]) => [name, alpha])),
  );
  const metadata = new Map([['format', 'pt']]);
  return { ...adapter, config, modules: new Map(modules), metadata, architecture: undefined, source: undefined };
}

function withRows(tensor: LoraTensor, order: Int32Array | undefined): LoraTensor {
  return order === undefined ? tensor : { ...tensor, bytes: reordered(tensor.bytes, order) };
}

function asType(module: LoraModule, dtype: WritableType): LoraModule {
  if (module.a.dtype === dtype && module.b.dtype === dtype) return module;
  const { a, b } = factorsOf(module);
  const [first, second] = [stored(a, dtype, `${module.name} lora_A`), stored(b, dtype, `${module.name} lora_B`)];
  return { ...module, a: first, b: second };
}

function withoutCounterpart({ name }: LoraModule, where: string): LowRankError {
  return new LowRankError('ERR_UNSUPPORTED', `${name}: has no known name in ${where}`, {
    hint: 'The attention and feed-forward matrices of the layers, the embedding and the head can be converted.',
  });
}

/** Finds the base model: the given one, or the one that the adapter names, if it is there. */
async function findBase({ config }: LoraAdapter, given: string | undefined): Promise<BaseModel | undefined> {
  if (given !== undefined) return readBase(absolutePath(given));
  const named = config.base_model_name_or_path;
  if (typeof named !== 'string' || named === '') return undefined;
  return (await exists(absolutePath(named))) ? readBase(absolutePath(named)) : undefined;
}

async function readBase(path: string): Promise<BaseModel> {
  if (basename(path) === CONFIG) return { path, config: await readConfig(path), tensors: undefined };
  try {
    const checkpoint = await open(path);
    await checkpoint.close();
    return { path, config: checkpoint.config, tensors: checkpoint.tensors };
  } catch (cause) {
    if (!(cause instanceof CheckpointError) || cause.kind !== 'NoWeights') throw cause;
    return { path, config: await readConfig(join(path, CONFIG)), tensors: undefined };
  }
}

function requireBase(base: BaseModel | undefined): BaseModel {
  if (base !== undefined) return base;
  throw new LowRankError('ERR_ARGUMENT', 'missing base model: names and row orders in GGUF depend on it', {
    hint: 'Pass its folder with config.json, its checkpoint or its GGUF file (--base <path>, base: ...).',
  });
}
