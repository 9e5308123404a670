import type { Config } from '../model/sizes.js';
import type { LoraKind } from './adapter.js';
import { moduleOf } from './modules.js';

/** A module of a new adapter. */
interface NewModule {
  readonly name: string;
  /** Its weight, if the model's tensors are known. */
  readonly tensor?: string;
  readonly kind: LoraKind;
  /** Whether the weight is stored [in, out]. */
  readonly transposed: boolean;
}

/**
 * Returns the configuration of a new adapter, with PEFT's defaults for what the model and the
 * modules do not determine.
 *
 * @param weights the names of all tensors of the model, if they are known
 */
export function adapterConfig(
  { config, weights }: { readonly config: Config | undefined; readonly weights: Iterable<string> | undefined },
  modules: readonly NewModule[],
  baseName: string | null,
): Record<string, unknown> {
  return {
    peft_type: 'LORA',
    task_type: taskOf(config),
    auto_mapping: null,
    base_model_name_or_path: baseName,
    revision: null,
    inference_mode: true,
    r: 8,
    lora_alpha: 8,
    lora_dropout: 0,
    target_modules: targets(weights, modules),
    fan_in_fan_out: modules.some(({ kind, transposed }) => kind === 'linear' && transposed),
    bias: 'none',
    use_rslora: false,
    use_dora: false,
    init_lora_weights: true,
    modules_to_save: null,
    layers_to_transform: null,
    layers_pattern: null,
    rank_pattern: {},
    alpha_pattern: {},
  };
}

/**
 * Returns the modules' last names if those select exactly the modules of the adapter, and the full
 * names otherwise.
 */
function targets(weights: Iterable<string> | undefined, modules: readonly NewModule[]): string[] {
  const names = modules.map(({ name }) => name);
  if (weights === undefined) return names;
  const adapted = new Set(modules.map(({ tensor }) => tensor));
  const lastName = (module: string) => module.slice(module.lastIndexOf('.') + 1);
  const last = new Set(names.map(lastName));
  const exact = [...weights].every((weight) => {
    const module = moduleOf(weight);
    return module === undefined || !last.has(lastName(module)) || adapted.has(weight);
  });
  return exact ? [...last] : names;
}

/**
 * Returns PEFT's name for the model's task, judged by its class; null if the class gives no
 * evidence.
 */
function taskOf(config: Config | undefined): string | null {
  const architecture = Array.isArray(config?.architectures) ? String(config.architectures[0]) : '';
  return TASKS.find(([ending]) => ending.test(architecture))?.[1] ?? null;
}

const TASKS: readonly [RegExp, string][] = [
  [/(?:ForCausalLM|LMHeadModel)$/, 'CAUSAL_LM'],
  [/ForSequenceClassification$/, 'SEQ_CLS'],
  [/ForTokenClassification$/, 'TOKEN_CLS'],
  [/ForQuestionAnswering$/, 'QUESTION_ANS'],
  [/ForConditionalGeneration$/, 'SEQ_2_SEQ_LM'],
];
