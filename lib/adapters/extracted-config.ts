import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { moduleOf } from './modules.js';
import type { SelectedModule } from './select-modules.js';

/**
 * Returns the config of an adapter extracted from `tuned`, with PEFT's defaults for everything
 * else.
 */
export function extractedConfig(
  tuned: Checkpoint,
  found: readonly SelectedModule[],
  baseName: string,
): Record<string, unknown> {
  return {
    peft_type: 'LORA',
    task_type: taskOf(tuned),
    auto_mapping: null,
    base_model_name_or_path: baseName,
    revision: null,
    inference_mode: true,
    r: 8,
    lora_alpha: 8,
    lora_dropout: 0,
    target_modules: targets(tuned, found),
    fan_in_fan_out: found.some(({ kind, transposed }) => kind === 'linear' && transposed),
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
function targets({ tensors }: Checkpoint, found: readonly SelectedModule[]): string[] {
  const adapted = new Set(found.map(({ tensor }) => tensor));
  const lastName = (module: string) => module.slice(module.lastIndexOf('.') + 1);
  const last = new Set(found.map(({ module }) => lastName(module)));
  const exact = [...tensors.keys()].every((name) => {
    const module = moduleOf(name);
    return module === undefined || !last.has(lastName(module)) || adapted.has(name);
  });
  return exact ? [...last] : found.map(({ module }) => module);
}

/**
 * Returns PEFT's name for the model's task, judged by its class; null if the class gives no
 * evidence.
 */
function taskOf({ config }: Checkpoint): string | null {
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
