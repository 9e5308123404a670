import type { Orientation } from '../checkpoint/checkpoint.js';
import type { MatrixType } from './types.js';

/**
 * How several matrices share one tensor.
 *
 * - `thirds`: q, k and v one after the other, equally large
 * - `heads`: q, k and v one after the other, sized by the heads in config.json (k and v may have
 *   fewer than q)
 * - `interleaved`: q, k and v of each head in turn
 * - `halves`: gate, then up
 */
export type Fusion = 'thirds' | 'heads' | 'interleaved' | 'halves';

/** The part of a fused tensor that is one matrix. */
export interface FusedPart {
  readonly fusion: Fusion;
  /** The axis of the stored tensor along which the matrices lie side by side. */
  readonly axis: 'rows' | 'columns';
  /** The position of the matrix: q, k, v or gate, up. */
  readonly index: 0 | 1 | 2;
}

/** The location of a matrix in a checkpoint. */
export interface MatrixLocation {
  /** The tensor's name after the layer's number; `#` stands for the number of an expert. */
  readonly name: string;
  /** Absent if the tensor is the matrix. */
  readonly part?: FusedPart;
}

/** One way in which a family's checkpoints name their tensors. */
export interface TensorNaming {
  /**
   * The text before the layer's number. The first prefix that a checkpoint uses counts; others
   * belong to other models in it.
   */
  readonly prefixes: readonly string[];
  /** The orientation of files that use these names, whatever the family usually does. */
  readonly orientation?: Orientation;
  /**
   * All locations of a matrix: a layer of experts has several, and a checkpoint has only some of
   * them.
   */
  readonly matrices: Readonly<Partial<Record<MatrixType, readonly MatrixLocation[]>>>;
}

export interface Family {
  readonly name: string;
  /** `model_type` in config.json. */
  readonly modelTypes: readonly string[];
  /**
   * The names in `architectures`, without the suffix for the purpose (`ForCausalLM`, `Model`, ...).
   */
  readonly architectures: readonly string[];
  /**
   * `in x out` for GPT-2's Conv1D (x W), `out x in` for all others (x W^T). A checkpoint may
   * differ, as nanoGPT's do from GPT-2's; {@link Model.roleOf} returns the orientation of its own
   * tensors.
   */
  readonly orientation: Orientation;
  readonly namings: readonly TensorNaming[];
  /** `general.architecture` in the metadata of GGUF files that use one of the namings. */
  readonly ggufArchitectures: readonly string[];
}

const whole = (...names: string[]): readonly MatrixLocation[] => names.map((name) => ({ name }));

const fused = (
  name: string,
  fusion: Fusion,
  axis: FusedPart['axis'],
  index: FusedPart['index'],
): readonly MatrixLocation[] => [{ name, part: { fusion, axis, index } }];

const qkv = (name: string, fusion: Fusion, axis: FusedPart['axis'] = 'rows') => ({
  q_proj: fused(name, fusion, axis, 0),
  k_proj: fused(name, fusion, axis, 1),
  v_proj: fused(name, fusion, axis, 2),
});

const gpt2Block: TensorNaming['matrices'] = {
  ...qkv('attn.c_attn.weight', 'thirds', 'columns'),
  out_proj: whole('attn.c_proj.weight'),
  fc_in: whole('mlp.c_fc.weight'),
  fc_out: whole('mlp.c_proj.weight'),
};

/**
 * GGUF uses one set of names for all models (MODEL_TENSOR in ggml's Python package `gguf`).
 * Converters store every fused attention in the order q, k, v, even if the source interleaves
 * heads.
 */
const ggufAttention: TensorNaming['matrices'] = {
  q_proj: [...whole('attn_q.weight'), ...fused('attn_qkv.weight', 'heads', 'rows', 0)],
  k_proj: [...whole('attn_k.weight'), ...fused('attn_qkv.weight', 'heads', 'rows', 1)],
  v_proj: [...whole('attn_v.weight'), ...fused('attn_qkv.weight', 'heads', 'rows', 2)],
  out_proj: whole('attn_output.weight'),
};

const gguf = (feedForward: TensorNaming['matrices']): TensorNaming => ({
  prefixes: ['blk.'],
  orientation: 'out x in',
  matrices: { ...ggufAttention, ...feedForward },
});

const ggufPlain = gguf({ fc_in: whole('ffn_up.weight'), fc_out: whole('ffn_down.weight') });

/** Experts are one tensor [experts, out, in], in older files one tensor each. */
const ggufGated = gguf({
  fc_in: [
    ...whole('ffn_gate.weight', 'ffn_gate_exps.weight', 'ffn_gate.#.weight'),
    ...fused('ffn_gate_up_exps.weight', 'halves', 'rows', 0),
  ],
  fc_up: [
    ...whole('ffn_up.weight', 'ffn_up_exps.weight', 'ffn_up.#.weight'),
    ...fused('ffn_gate_up_exps.weight', 'halves', 'rows', 1),
  ],
  fc_out: whole('ffn_down.weight', 'ffn_down_exps.weight', 'ffn_down.#.weight'),
});

/** Gate and up are one tensor, which is named up. */
const ggufFusedGate = gguf({
  fc_in: fused('ffn_up.weight', 'halves', 'rows', 0),
  fc_up: fused('ffn_up.weight', 'halves', 'rows', 1),
  fc_out: whole('ffn_down.weight'),
});

/** The attention of every decoder that onnxruntime-genai builds, whatever names the family used. */
const builtAttention = {
  q_proj: [...whole('attn.q_proj.weight'), ...fused('attn.qkv_proj.weight', 'heads', 'rows', 0)],
  k_proj: [...whole('attn.k_proj.weight'), ...fused('attn.qkv_proj.weight', 'heads', 'rows', 1)],
  v_proj: [...whole('attn.v_proj.weight'), ...fused('attn.qkv_proj.weight', 'heads', 'rows', 2)],
  out_proj: whole('attn.o_proj.weight'),
} as const;

/** Decoders beside a vision tower have their own prefixes, which no tower uses. */
const DECODER_PREFIXES = ['model.layers.', 'model.language_model.layers.', 'language_model.model.layers.', 'layers.'];

/**
 * The families whose matrices can be selected by (layer, type). The names are those of the
 * transformers library's state dicts, and of GGUF. The types follow the LASER paper's code, where
 * `fc_in` of a gated model is its gate.
 */
export const FAMILIES: readonly Family[] = [
  {
    name: 'gptj',
    modelTypes: ['gptj'],
    architectures: ['GPTJ'],
    ggufArchitectures: ['gptj'],
    orientation: 'out x in',
    namings: [
      {
        prefixes: ['transformer.h.', 'h.'],
        matrices: {
          q_proj: whole('attn.q_proj.weight'),
          k_proj: whole('attn.k_proj.weight'),
          v_proj: whole('attn.v_proj.weight'),
          out_proj: whole('attn.out_proj.weight'),
          fc_in: whole('mlp.fc_in.weight'),
          fc_out: whole('mlp.fc_out.weight'),
        },
      },
      ggufPlain,
    ],
  },
  {
    name: 'llama',
    modelTypes: [
      'llama',
      'mistral',
      'ministral',
      'ministral3',
      'mistral3',
      'mixtral',
      'qwen2',
      'qwen2_moe',
      'qwen3',
      'qwen3_moe',
      'gemma',
      'gemma2',
      'gemma3',
      'gemma3_text',
      'vaultgemma',
      'olmo',
      'olmo2',
      'olmo3',
      'olmoe',
      'stablelm',
      'granite',
      'cohere',
      'cohere2',
      'smollm3',
      'seed_oss',
      'exaone4',
      'ernie4_5',
      'helium',
      'bitnet',
    ],
    architectures: [
      'Llama',
      'Mistral',
      'Ministral',
      'Ministral3',
      'Mistral3',
      'Mixtral',
      'Qwen2',
      'Qwen2Moe',
      'Qwen3',
      'Qwen3Moe',
      'Gemma',
      'Gemma2',
      'Gemma3',
      'VaultGemma',
      'Olmo',
      'Olmo2',
      'Olmo3',
      'Olmoe',
      'StableLm',
      'Granite',
      'Cohere',
      'Cohere2',
      'SmolLM3',
      'SeedOss',
      'Exaone4',
      'Ernie4_5',
      'Helium',
      'BitNet',
    ],
    ggufArchitectures: [
      'llama',
      'mistral3',
      'qwen',
      'qwen2',
      'qwen2vl',
      'qwen2moe',
      'qwen3',
      'qwen3vl',
      'qwen3moe',
      'qwen3vlmoe',
      'gemma',
      'gemma2',
      'gemma3',
      'olmo',
      'olmo2',
      'olmoe',
      'stablelm',
      'granite',
      'granitemoe',
      'command-r',
      'cohere2',
      'smollm3',
      'seed_oss',
      'exaone4',
      'ernie4_5',
      'ernie4_5-moe',
      'bitnet',
      'minicpm',
      'internlm2',
      'baichuan',
      'xverse',
      'orion',
      'deepseek',
      'dots1',
      'refact',
      'phimoe',
    ],
    orientation: 'out x in',
    namings: [
      {
        prefixes: DECODER_PREFIXES,
        matrices: {
          q_proj: [...whole('self_attn.q_proj.weight'), ...builtAttention.q_proj],
          k_proj: [...whole('self_attn.k_proj.weight'), ...builtAttention.k_proj],
          v_proj: [...whole('self_attn.v_proj.weight'), ...builtAttention.v_proj],
          out_proj: [...whole('self_attn.o_proj.weight'), ...builtAttention.out_proj],
          // A layer of experts stores them in one tensor each, or all in one tensor [experts, out,
          // in].
          fc_in: [
            ...whole('mlp.gate_proj.weight', 'mlp.experts.#.gate_proj.weight', 'block_sparse_moe.experts.#.w1.weight'),
            ...fused('mlp.experts.gate_up_proj', 'halves', 'rows', 0),
          ],
          fc_up: [
            ...whole('mlp.up_proj.weight', 'mlp.experts.#.up_proj.weight', 'block_sparse_moe.experts.#.w3.weight'),
            ...fused('mlp.experts.gate_up_proj', 'halves', 'rows', 1),
          ],
          fc_out: whole(
            'mlp.down_proj.weight',
            'mlp.experts.#.down_proj.weight',
            'block_sparse_moe.experts.#.w2.weight',
            'mlp.experts.down_proj',
          ),
        },
      },
      ggufGated,
    ],
  },
  {
    name: 'phi',
    modelTypes: ['phi', 'phi-msft'],
    architectures: ['Phi'],
    ggufArchitectures: ['phi2'],
    orientation: 'out x in',
    namings: [
      {
        prefixes: ['model.layers.', 'layers.'],
        matrices: {
          q_proj: [...whole('self_attn.q_proj.weight'), ...builtAttention.q_proj],
          k_proj: [...whole('self_attn.k_proj.weight'), ...builtAttention.k_proj],
          v_proj: [...whole('self_attn.v_proj.weight'), ...builtAttention.v_proj],
          out_proj: [...whole('self_attn.dense.weight'), ...builtAttention.out_proj],
          fc_in: whole('mlp.fc1.weight'),
          fc_out: whole('mlp.fc2.weight'),
        },
      },
      {
        // The names of the code that came with the weights before transformers had the model.
        prefixes: ['transformer.h.', 'h.'],
        matrices: {
          ...qkv('mixer.Wqkv.weight', 'heads'),
          out_proj: whole('mixer.out_proj.weight'),
          fc_in: whole('mlp.fc1.weight'),
          fc_out: whole('mlp.fc2.weight'),
        },
      },
      ggufPlain,
    ],
  },
  {
    name: 'phi3',
    modelTypes: ['phi3'],
    architectures: ['Phi3'],
    ggufArchitectures: ['phi3'],
    orientation: 'out x in',
    namings: [
      {
        prefixes: ['model.layers.', 'layers.'],
        matrices: {
          q_proj: [...fused('self_attn.qkv_proj.weight', 'heads', 'rows', 0), ...builtAttention.q_proj],
          k_proj: [...fused('self_attn.qkv_proj.weight', 'heads', 'rows', 1), ...builtAttention.k_proj],
          v_proj: [...fused('self_attn.qkv_proj.weight', 'heads', 'rows', 2), ...builtAttention.v_proj],
          out_proj: [...whole('self_attn.o_proj.weight'), ...builtAttention.out_proj],
          // onnxruntime-genai splits gate and up.
          fc_in: [...fused('mlp.gate_up_proj.weight', 'halves', 'rows', 0), ...whole('mlp.gate_proj.weight')],
          fc_up: [...fused('mlp.gate_up_proj.weight', 'halves', 'rows', 1), ...whole('mlp.up_proj.weight')],
          fc_out: whole('mlp.down_proj.weight'),
        },
      },
      ggufFusedGate,
    ],
  },
  {
    name: 'bert',
    modelTypes: ['bert', 'roberta', 'xlm-roberta', 'camembert', 'electra', 'data2vec-text'],
    architectures: ['Bert', 'Roberta', 'XLMRoberta', 'Camembert', 'Electra', 'Data2VecText'],
    ggufArchitectures: ['bert'],
    orientation: 'out x in',
    namings: [
      {
        prefixes: [
          'bert.encoder.layer.',
          'roberta.encoder.layer.',
          'electra.encoder.layer.',
          'data2vec_text.encoder.layer.',
          'encoder.layer.',
        ],
        matrices: {
          q_proj: whole('attention.self.query.weight'),
          k_proj: whole('attention.self.key.weight'),
          v_proj: whole('attention.self.value.weight'),
          out_proj: whole('attention.output.dense.weight'),
          fc_in: whole('intermediate.dense.weight'),
          fc_out: whole('output.dense.weight'),
        },
      },
      ggufPlain,
    ],
  },
  {
    name: 'distilbert',
    modelTypes: ['distilbert'],
    architectures: ['DistilBert'],
    ggufArchitectures: [],
    orientation: 'out x in',
    namings: [
      {
        prefixes: ['distilbert.transformer.layer.', 'transformer.layer.'],
        matrices: {
          q_proj: whole('attention.q_lin.weight'),
          k_proj: whole('attention.k_lin.weight'),
          v_proj: whole('attention.v_lin.weight'),
          out_proj: whole('attention.out_lin.weight'),
          fc_in: whole('ffn.lin1.weight'),
          fc_out: whole('ffn.lin2.weight'),
        },
      },
    ],
  },
  {
    name: 'gpt2',
    modelTypes: ['gpt2'],
    architectures: ['GPT2'],
    ggufArchitectures: ['gpt2', 'falcon', 'bloom', 'mpt', 'starcoder', 'starcoder2', 'codeshell'],
    orientation: 'in x out',
    namings: [{ prefixes: ['transformer.h.', 'h.'], matrices: gpt2Block }, ggufPlain],
  },
  {
    name: 'gpt_neox',
    modelTypes: ['gpt_neox'],
    architectures: ['GPTNeoX'],
    ggufArchitectures: ['gptneox'],
    orientation: 'out x in',
    namings: [
      {
        prefixes: ['gpt_neox.layers.', 'layers.'],
        matrices: {
          ...qkv('attention.query_key_value.weight', 'interleaved'),
          out_proj: whole('attention.dense.weight'),
          fc_in: whole('mlp.dense_h_to_4h.weight'),
          fc_out: whole('mlp.dense_4h_to_h.weight'),
        },
      },
      ggufPlain,
    ],
  },
  {
    name: 'opt',
    modelTypes: ['opt'],
    architectures: ['OPT'],
    ggufArchitectures: [],
    orientation: 'out x in',
    namings: [
      {
        prefixes: ['model.decoder.layers.', 'decoder.layers.'],
        matrices: {
          q_proj: whole('self_attn.q_proj.weight'),
          k_proj: whole('self_attn.k_proj.weight'),
          v_proj: whole('self_attn.v_proj.weight'),
          out_proj: whole('self_attn.out_proj.weight'),
          fc_in: whole('fc1.weight'),
          fc_out: whole('fc2.weight'),
        },
      },
    ],
  },
  {
    name: 'decision_transformer',
    modelTypes: ['decision_transformer'],
    architectures: ['DecisionTransformer', 'DecisionTransformerGPT2'],
    ggufArchitectures: [],
    orientation: 'in x out',
    namings: [{ prefixes: ['encoder.h.', 'h.'], matrices: gpt2Block }],
  },
];
