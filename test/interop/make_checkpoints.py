"""Makes tiny random checkpoints of every model family, the way their users do: `save_pretrained` of `transformers`.

    python make_checkpoints.py <folder> [<checkpoint> ...]

A checkpoint is named `<family>-<dtype>` or `<family>-<dtype>-sharded`, and becomes the folder of that name. Without
names: every family in F32. The weights depend only on the family, so the same family in two dtypes differs by the
rounding alone. Sizes are small and all different where a family allows it, and every matrix is scaled so that logits
are of the order of one: an edit of any matrix shows in them.
"""

import json
import math
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
import transformers as tf
from safetensors.torch import save_file

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
VOCABULARY = 48
POSITIONS = 40

# Grouped-query attention: fewer heads for keys and values than for queries.
_LLAMA_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
}
_BERT_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 44,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS,
}
_GPT2_LIKE = {"n_embd": 24, "n_inner": 44, "n_layer": 2, "n_head": 4, "n_positions": POSITIONS}


def _gptj() -> tf.PreTrainedModel:
    return tf.GPTJForCausalLM(tf.GPTJConfig(vocab_size=VOCABULARY, rotary_dim=4, **_GPT2_LIKE))


def _llama() -> tf.PreTrainedModel:
    # More than ten layers: `layers.1.` must not be taken for `layers.10.`.
    return tf.LlamaForCausalLM(tf.LlamaConfig(**{**_LLAMA_LIKE, "num_hidden_layers": 12}))


def _mistral() -> tf.PreTrainedModel:
    return tf.MistralForCausalLM(tf.MistralConfig(sliding_window=None, **_LLAMA_LIKE))


def _qwen2() -> tf.PreTrainedModel:
    return tf.Qwen2ForCausalLM(tf.Qwen2Config(**_LLAMA_LIKE))


def _gemma() -> tf.PreTrainedModel:
    # Heads wider than hidden_size / heads, and a single key/value head.
    return tf.GemmaForCausalLM(tf.GemmaConfig(**{**_LLAMA_LIKE, "head_dim": 10, "num_key_value_heads": 1}))


def _mixtral() -> tf.PreTrainedModel:
    return tf.MixtralForCausalLM(tf.MixtralConfig(num_local_experts=3, **_LLAMA_LIKE))


def _phi() -> tf.PreTrainedModel:
    return tf.PhiForCausalLM(
        tf.PhiConfig(partial_rotary_factor=0.5, **{**_LLAMA_LIKE, "num_attention_heads": 3, "num_key_value_heads": 3})
    )


def _phi3() -> tf.PreTrainedModel:
    return tf.Phi3ForCausalLM(tf.Phi3Config(bos_token_id=1, eos_token_id=2, **_LLAMA_LIKE))


def _neox() -> tf.PreTrainedModel:
    return tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**{**_BERT_LIKE, "num_hidden_layers": 11}))


def _opt() -> tf.PreTrainedModel:
    sizes = {"hidden_size": 24, "word_embed_proj_dim": 24, "ffn_dim": 44, "num_hidden_layers": 2}
    return tf.OPTForCausalLM(
        tf.OPTConfig(
            vocab_size=VOCABULARY, num_attention_heads=4, pad_token_id=0, max_position_embeddings=POSITIONS, **sizes
        )
    )


def _gpt2() -> tf.PreTrainedModel:
    return tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=VOCABULARY, **_GPT2_LIKE))


def _gpt2_base() -> tf.PreTrainedModel:
    """The layout of the published `gpt2`: no head, and names without the `transformer.` in front."""
    return tf.GPT2Model(tf.GPT2Config(vocab_size=VOCABULARY, **_GPT2_LIKE))


def _bert() -> tf.PreTrainedModel:
    return tf.BertForMaskedLM(tf.BertConfig(**_BERT_LIKE))


def _roberta() -> tf.PreTrainedModel:
    return tf.RobertaForMaskedLM(tf.RobertaConfig(**_BERT_LIKE))


def _distilbert() -> tf.PreTrainedModel:
    return tf.DistilBertForMaskedLM(
        tf.DistilBertConfig(
            vocab_size=VOCABULARY, dim=24, hidden_dim=44, n_layers=2, n_heads=4, max_position_embeddings=POSITIONS
        )
    )


def _decision_transformer() -> tf.PreTrainedModel:
    return tf.DecisionTransformerModel(
        tf.DecisionTransformerConfig(
            state_dim=5,
            act_dim=3,
            max_ep_len=16,
            hidden_size=24,
            n_inner=44,
            n_layer=2,
            n_head=4,
            n_positions=POSITIONS,
        )
    )


MODELS: dict[str, Callable[[], tf.PreTrainedModel]] = {
    "gptj": _gptj,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "gemma": _gemma,
    "mixtral": _mixtral,
    "phi": _phi,
    "phi3": _phi3,
    "neox": _neox,
    "opt": _opt,
    "gpt2": _gpt2,
    "gpt2base": _gpt2_base,
    "bert": _bert,
    "roberta": _roberta,
    "distilbert": _distilbert,
    "decision": _decision_transformer,
}
# The layout of microsoft/phi-1_5 before `transformers` knew it: no class of ours loads it, its tensors are enough.
OLD_PHI = "oldphi"
FAMILIES = [*MODELS, OLD_PHI]


def _decaying(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    """A random matrix with entries of the order of one and singular values that fall by a tenth each.

    Slices of its longer side decay alike, though not as evenly. Plain Gaussian matrices have neighbouring singular
    values that nearly meet: where the cut falls between two such values, float32 and float64 keep visibly different
    parts of the matrix, and both are right.
    """
    if rows < columns:
        return _decaying(columns, rows, generator).T.contiguous()

    def orthonormal(height: int) -> torch.Tensor:
        return torch.linalg.qr(torch.randn(height, columns, generator=generator, dtype=torch.float64)).Q

    decay = 0.9 ** torch.arange(columns, dtype=torch.float64)
    return (math.sqrt(rows) * orthonormal(rows) * decay @ orthonormal(columns).T).float()


def _random(family: str, name: str, shape: torch.Size) -> torch.Tensor:
    """Weights of a size that keeps activations near one, seeded by the tensor's own name."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{family}/{name}".encode()))
    if len(shape) == 2:
        return _decaying(*shape, generator) * 1.8 / math.sqrt(max(shape[-1], 8))
    # Scales of norms lie around one; those of Gemma are stored less one.
    is_scale = name.endswith(".weight") and family != "gemma"
    return 0.1 * torch.randn(shape, generator=generator) + (1.0 if is_scale else 0.0)


def _save_model(family: str, dtype: torch.dtype, folder: Path, shard_size: str) -> None:
    model = MODELS[family]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(_random(family, name, parameter.shape))
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)


def _old_phi_shapes() -> dict[str, tuple[int, ...]]:
    hidden, inner = 24, 44
    shapes: dict[str, tuple[int, ...]] = {"transformer.embd.wte.weight": (VOCABULARY, hidden)}
    for layer in range(2):
        prefix = f"transformer.h.{layer}"
        shapes |= {
            f"{prefix}.ln.weight": (hidden,),
            f"{prefix}.ln.bias": (hidden,),
            f"{prefix}.mixer.Wqkv.weight": (3 * hidden, hidden),
            f"{prefix}.mixer.Wqkv.bias": (3 * hidden,),
            f"{prefix}.mixer.out_proj.weight": (hidden, hidden),
            f"{prefix}.mixer.out_proj.bias": (hidden,),
            f"{prefix}.mlp.fc1.weight": (inner, hidden),
            f"{prefix}.mlp.fc1.bias": (inner,),
            f"{prefix}.mlp.fc2.weight": (hidden, inner),
            f"{prefix}.mlp.fc2.bias": (hidden,),
        }
    return shapes | {"lm_head.linear.weight": (VOCABULARY, hidden), "lm_head.linear.bias": (VOCABULARY,)}


def _save_old_phi(dtype: torch.dtype, folder: Path) -> None:
    folder.mkdir(parents=True)
    config = {
        "architectures": ["PhiForCausalLM"],
        "model_type": "phi-msft",
        "n_embd": 24,
        "n_head": 4,
        "n_head_kv": None,
        "n_inner": 44,
        "n_layer": 2,
        "n_positions": POSITIONS,
        "rotary_dim": 4,
        "vocab_size": VOCABULARY,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    tensors = {name: _random(OLD_PHI, name, torch.Size(shape)).to(dtype) for name, shape in _old_phi_shapes().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def make(name: str, folder: Path) -> None:
    """Makes the checkpoint of that name in `folder`. Raises for a family or dtype that is not known."""
    family, dtype, *rest = name.split("-")
    if rest not in ([], ["sharded"]):
        raise ValueError(f"{name}: expected <family>-<dtype>[-sharded]")
    if family == OLD_PHI:
        _save_old_phi(DTYPES[dtype], folder / name)
    else:
        _save_model(family, DTYPES[dtype], folder / name, "8KB" if rest else "1GB")


def main(arguments: list[str]) -> None:
    tf.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    folder, names = Path(arguments[0]), arguments[1:]
    for name in names or [f"{family}-f32" for family in FAMILIES]:
        make(name, folder)


if __name__ == "__main__":
    main(sys.argv[1:])
