"""Makes a tiny random model of each family, and says what matrices its modules have.

    python family_models.py <folder>

Each model becomes a folder of `save_pretrained`. `modules.json` beside them has, for each model, the weights of the
Linear and Conv1D modules and of the experts in its layers: the tensor in the file, found by its numbers, its shape,
the orientation of the module's class, the layer, and whether it is a router or the like, which has no type.

Every bias is zero, so that whatever a matrix of zeros computes is zero, too.
"""

import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

HIDDEN, INNER, VOCABULARY = 24, 44, 48
SIZES = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": 2}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
HEADS = {"num_attention_heads": 4}
GROUPED = {**SIZES, **HEADS, **TOKENS, "num_key_value_heads": 2, "max_position_embeddings": 40}
ENCODER = {**SIZES, **HEADS, "max_position_embeddings": 40, "pad_token_id": 0}
GPT = {"vocab_size": VOCABULARY, "n_embd": HIDDEN, "n_inner": INNER, "n_layer": 2, "n_head": 4, "n_positions": 40}
EXPERTS = {"moe_intermediate_size": 20, "num_experts_per_tok": 2}
TWO_STACKS = {
    "vocab_size": VOCABULARY,
    "d_model": HIDDEN,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": INNER,
    "decoder_ffn_dim": 36,
    "decoder_start_token_id": 1,
    **TOKENS,
}
MLA = {
    **SIZES,
    **HEADS,
    **TOKENS,
    **EXPERTS,
    "num_key_value_heads": 4,
    "first_k_dense_replace": 1,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "kv_lora_rank": 10,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 5,
    "max_position_embeddings": 40,
}
T5 = {
    "vocab_size": VOCABULARY,
    "decoder_start_token_id": 0,
    "d_model": HIDDEN,
    "d_kv": 5,
    "d_ff": INNER,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
}
IMAGE = {"image_size": 16, "patch_size": 8}
DECODER = ("model.layers.",)
BLOCKS = ("transformer.h.",)


def _t5(**options: Any) -> tf.PreTrainedModel:
    return tf.T5ForConditionalGeneration(tf.T5Config(**T5, **options))


def _falcon(**options: Any) -> tf.PreTrainedModel:
    return tf.FalconForCausalLM(tf.FalconConfig(**{**SIZES, **HEADS, **TOKENS}, ffn_hidden_size=INNER, **options))


def _clip() -> tf.PreTrainedModel:
    text = {**ENCODER, "bos_token_id": 1, "eos_token_id": 2}
    vision = {**IMAGE, **HEADS, "hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 3}
    return tf.CLIPModel(tf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))


def _siglip() -> tf.PreTrainedModel:
    vision = {**IMAGE, **HEADS, "hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 3}
    return tf.SiglipModel(tf.SiglipConfig(text_config={**ENCODER, "projection_size": 20}, vision_config=vision))


def _gemma3() -> tf.PreTrainedModel:
    text = {**GROUPED, "head_dim": 10, "sliding_window": 8}
    vision = {**IMAGE, **HEADS, "hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 1}
    config = tf.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return tf.Gemma3ForConditionalGeneration(config)


def _phi4_multimodal() -> tf.PreTrainedModel:
    small = {"hidden_size": 16, "intermediate_size": 20, "num_attention_heads": 2}
    vision = {**small, "num_hidden_layers": 1, "image_size": 28, "crop_size": 28}
    audio = {
        **small,
        "num_blocks": 1,
        "ext_pw_out_channel": 16,
        "depthwise_separable_out_channel": 16,
        "nemo_conv_channels": 8,
        "input_size": 16,
    }
    config = tf.Phi4MultimodalConfig(vision_config=vision, audio_config=audio, **GROUPED)
    return tf.Phi4MultimodalForCausalLM(config)


@dataclass(frozen=True)
class Row:
    """A model of a family."""

    make: Callable[[], tf.PreTrainedModel]
    # Where the layers are in the model, before their numbers: one stack, or an encoder and a decoder.
    stacks: tuple[str, ...]
    # Matrices of layers that are neither attention nor feed-forward.
    untyped: str = "$^"
    # The layers whose matrices are edited one by one.
    layers: tuple[int, ...] = (1,)
    # Whether the model computes a layer again and again.
    repeats: bool = False


ROWS: dict[str, Row] = {
    "t5": Row(lambda: _t5(), ("encoder.block.", "decoder.block."), layers=(1, 4)),
    "t5-gated": Row(
        lambda: _t5(feed_forward_proj="gated-gelu"), ("encoder.block.", "decoder.block."), layers=(0, 2)
    ),
    "umt5": Row(
        lambda: tf.UMT5ForConditionalGeneration(tf.UMT5Config(**T5)),
        ("encoder.block.", "decoder.block."),
        layers=(3,),
    ),
    "bart": Row(
        lambda: tf.BartForConditionalGeneration(tf.BartConfig(**TWO_STACKS)),
        ("model.encoder.layers.", "model.decoder.layers."),
        layers=(1, 4),
    ),
    "marian": Row(
        lambda: tf.MarianMTModel(tf.MarianConfig(**TWO_STACKS)),
        ("model.encoder.layers.", "model.decoder.layers."),
        layers=(0, 2),
    ),
    "mbart": Row(
        lambda: tf.MBartForConditionalGeneration(tf.MBartConfig(**TWO_STACKS)),
        ("model.encoder.layers.", "model.decoder.layers."),
        layers=(2,),
    ),
    "pegasus": Row(
        lambda: tf.PegasusForConditionalGeneration(tf.PegasusConfig(**TWO_STACKS)),
        ("model.encoder.layers.", "model.decoder.layers."),
        layers=(2,),
    ),
    "m2m-100": Row(
        lambda: tf.M2M100ForConditionalGeneration(tf.M2M100Config(**TWO_STACKS)),
        ("model.encoder.layers.", "model.decoder.layers."),
        layers=(2,),
    ),
    "whisper": Row(
        lambda: tf.WhisperForConditionalGeneration(
            tf.WhisperConfig(**TWO_STACKS, num_mel_bins=8, max_source_positions=6, begin_suppress_tokens=None)
        ),
        ("model.encoder.layers.", "model.decoder.layers."),
        layers=(1, 4),
    ),
    "albert": Row(
        lambda: tf.AlbertForMaskedLM(tf.AlbertConfig(embedding_size=16, **ENCODER)),
        ("albert.encoder.albert_layer_groups.",),
        layers=(0,),
        repeats=True,
    ),
    "mpnet": Row(lambda: tf.MPNetForMaskedLM(tf.MPNetConfig(**ENCODER)), ("mpnet.encoder.layer.",)),
    "modernbert": Row(
        lambda: tf.ModernBertForMaskedLM(
            tf.ModernBertConfig(**ENCODER, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
        ),
        DECODER,
    ),
    "deberta": Row(
        lambda: tf.DebertaForMaskedLM(
            tf.DebertaConfig(**ENCODER, relative_attention=True, pos_att_type=["c2p", "p2c"])
        ),
        ("deberta.encoder.layer.",),
        untyped=r"pos_(q_)?proj",
    ),
    "deberta-v3": Row(
        lambda: tf.DebertaV2ForMaskedLM(
            tf.DebertaV2Config(**ENCODER, relative_attention=True, pos_att_type=["c2p", "p2c"])
        ),
        ("deberta.encoder.layer.",),
        untyped=r"pos_(query|key)_proj",
    ),
    "vit": Row(
        lambda: tf.ViTForImageClassification(
            tf.ViTConfig(**IMAGE, **HEADS, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=2)
        ),
        ("vit.layers.",),
    ),
    "deit": Row(
        lambda: tf.DeiTForImageClassification(
            tf.DeiTConfig(**IMAGE, **HEADS, hidden_size=HIDDEN, intermediate_size=INNER, num_hidden_layers=2)
        ),
        ("deit.layers.",),
    ),
    "clip": Row(_clip, ("text_model.encoder.layers.", "vision_model.encoder.layers."), layers=(1, 4)),
    "siglip": Row(_siglip, ("text_model.encoder.layers.", "vision_model.encoder.layers."), layers=(4,)),
    "gpt-neo": Row(
        lambda: tf.GPTNeoForCausalLM(
            tf.GPTNeoConfig(
                vocab_size=VOCABULARY,
                hidden_size=HIDDEN,
                intermediate_size=INNER,
                num_layers=2,
                num_heads=4,
                attention_types=[[["global", "local"], 1]],
                max_position_embeddings=40,
                **{**TOKENS},
            )
        ),
        BLOCKS,
    ),
    "bloom": Row(
        lambda: tf.BloomForCausalLM(
            tf.BloomConfig(vocab_size=VOCABULARY, hidden_size=HIDDEN, n_layer=2, n_head=4, **TOKENS)
        ),
        BLOCKS,
    ),
    "falcon-7b": Row(lambda: _falcon(multi_query=True), BLOCKS),
    "falcon-40b": Row(lambda: _falcon(new_decoder_architecture=True, num_kv_heads=2), BLOCKS),
    "falcon-rw": Row(lambda: _falcon(multi_query=False, alibi=True, parallel_attn=False), BLOCKS),
    "gpt-bigcode": Row(lambda: tf.GPTBigCodeForCausalLM(tf.GPTBigCodeConfig(**GPT, **TOKENS)), BLOCKS),
    "gpt-bigcode-mha": Row(
        lambda: tf.GPTBigCodeForCausalLM(tf.GPTBigCodeConfig(**GPT, **TOKENS, multi_query=False)), BLOCKS
    ),
    "deepseek-v2": Row(
        lambda: tf.DeepseekV2ForCausalLM(tf.DeepseekV2Config(**MLA, q_lora_rank=None)), DECODER, layers=(0, 1)
    ),
    "deepseek-v3": Row(
        lambda: tf.DeepseekV3ForCausalLM(tf.DeepseekV3Config(**MLA, q_lora_rank=12)), DECODER, layers=(0, 1)
    ),
    "gpt-oss": Row(
        lambda: tf.GptOssForCausalLM(
            tf.GptOssConfig(**GROUPED, head_dim=8, num_local_experts=3, num_experts_per_tok=3)
        ),
        DECODER,
    ),
    "qwen2-moe": Row(
        lambda: tf.Qwen2MoeForCausalLM(
            tf.Qwen2MoeConfig(**GROUPED, **EXPERTS, num_experts=3, shared_expert_intermediate_size=28)
        ),
        DECODER,
        untyped="shared_expert_gate",
    ),
    "qwen3-moe": Row(
        lambda: tf.Qwen3MoeForCausalLM(tf.Qwen3MoeConfig(**GROUPED, **EXPERTS, num_experts=3, head_dim=8)), DECODER
    ),
    "gemma3-text": Row(
        lambda: tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**GROUPED, head_dim=10, sliding_window=8)), DECODER
    ),
    "gemma3": Row(_gemma3, ("model.language_model.layers.",)),
    # Phi-4 is a Phi-3 by its config.
    "phi-4": Row(lambda: tf.Phi3ForCausalLM(tf.Phi3Config(**GROUPED)), DECODER),
    "phi-4-multimodal": Row(_phi4_multimodal, DECODER),
    "smollm3": Row(
        lambda: tf.SmolLM3ForCausalLM(tf.SmolLM3Config(**GROUPED, no_rope_layer_interval=2)), DECODER
    ),
    # Families of long standing, whose fused slices are held against the same.
    "gpt2": Row(lambda: tf.GPT2LMHeadModel(tf.GPT2Config(**GPT, **TOKENS)), BLOCKS),
    "gpt-neox": Row(
        lambda: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**ENCODER)), ("gpt_neox.layers.",)
    ),
}


def fill(model: tf.PreTrainedModel, name: str) -> None:
    """Random weights, norms near one, and biases of zero."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() < 2:
                parameter.copy_(1 + 0.1 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)


def matrices(model: tf.PreTrainedModel) -> Iterator[tuple[str, torch.Tensor, str]]:
    """The parameters that multiply activations, with their orientation."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, Conv1D)):
            yield f"{name}.weight", module.weight, "in x out" if isinstance(module, Conv1D) else "out x in"
        elif isinstance(getattr(module, "gate_up_proj", None), nn.Parameter):
            # The class says whether its experts compute x W or x W^T.
            orientation = "in x out" if module.is_transposed else "out x in"
            for own in ("gate_up_proj", "down_proj"):
                yield f"{name}.{own}", getattr(module, own), orientation


def pieces(parameter: torch.Tensor) -> list[list[torch.Tensor]]:
    """The ways in which a file may store a parameter: as it is, each expert alone, gate and up of each expert."""
    if parameter.dim() == 2:
        return [[parameter]]
    return [[parameter], list(parameter), [half for expert in parameter for half in expert.chunk(2)]]


def content(tensor: torch.Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(tensor.shape), tensor.detach().contiguous().numpy().tobytes()


def layer_of(name: str, stacks: tuple[str, ...], depths: list[int]) -> int | None:
    """The number of a parameter's layer, counted through all stacks."""
    for i, stack in enumerate(stacks):
        found = re.match(rf"{re.escape(stack)}(\d+)\.", name)
        if found:
            return sum(depths[:i]) + int(found[1])
    return None


def depths_of(model: tf.PreTrainedModel, stacks: tuple[str, ...]) -> list[int]:
    return [len(model.get_submodule(stack.rstrip("."))) for stack in stacks]


def table(row: Row, model: tf.PreTrainedModel, folder: Path) -> list[dict[str, Any]]:
    """What lowrank should find in a folder."""
    stored = {content(tensor): name for name, tensor in load_file(folder / "model.safetensors").items()}
    found = []
    depths = depths_of(model, row.stacks)
    for name, parameter, orientation in matrices(model):
        layer = layer_of(name, row.stacks, depths)
        if layer is None:
            continue
        parts = next((way for way in pieces(parameter) if all(content(part) in stored for part in way)), None)
        if parts is None:
            raise ValueError(f"{name} is not in the file")
        typed = re.search(row.untyped, name) is None
        for part in parts:
            entry = {"tensor": stored[content(part)], "shape": list(part.shape), "orientation": orientation}
            found.append({**entry, "layer": layer, "module": name, "typed": typed})
    return found


def main(folder: Path) -> None:
    tf.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    tables = {}
    for name, row in ROWS.items():
        model = row.make()
        fill(model, name)
        model.save_pretrained(folder / name)
        tables[name] = {"layers": row.layers, "modules": table(row, model, folder / name)}
    (folder / "modules.json").write_text(json.dumps(tables))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
