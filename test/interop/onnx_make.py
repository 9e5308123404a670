"""Writes ONNX models for the tests of this folder: small transformers as PyTorch exports them, and every element type.

Usage: python onnx_make.py <folder>
"""

import sys
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

TOKENS = 8
SIZES = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=16,
    pad_token_id=0,
    attn_implementation="eager",
)
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(tie_word_embeddings=True, **SIZES)),
    # Phi-3 joins q, k and v in one linear layer, which is turned when it is exported.
    "phi3": (Phi3ForCausalLM, Phi3Config(tie_word_embeddings=False, **SIZES)),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=16, attn_implementation="eager"),
    ),
}


def from_tokens_to_logits(base):
    """The class with a `forward` that tracing can follow; a subclass, so that no module's name is put before all others."""

    class FromTokensToLogits(base):
        def forward(self, tokens):
            count = tokens.shape[1]
            # The library's own mask is made by operators that the exporter does not know.
            mask = torch.triu(torch.full((count, count), -1e9), 1)[None, None]
            positions = torch.arange(count)[None]
            return super().forward(
                input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=False
            ).logits

    return FromTokensToLogits


def export(name, folder):
    base, config = MODELS[name]
    torch.manual_seed(7)
    model = from_tokens_to_logits(base)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Large enough that an edit shows in the logits; no two alike, or the exporter would join them.
            parameter.add_(0.1 * torch.randn_like(parameter))
    inline = folder / name
    inline.mkdir()
    file = inline / "model.onnx"
    tokens = torch.arange(TOKENS)[None] * 7 % 64
    names = dict(input_names=["tokens"], output_names=["logits"])
    torch.onnx.export(model, (tokens,), str(file), dynamo=False, opset_version=17, **names)
    config.to_json_file(inline / "config.json")

    # The layout of optimum and transformers.js.
    external = folder / f"{name}-external"
    (external / "onnx").mkdir(parents=True)
    config.to_json_file(external / "config.json")
    onnx.save_model(
        onnx.load(file),
        external / "onnx" / "model.onnx",
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )


def every_type(folder):
    """Every element type, as raw data, in the typed field, and in an external file."""
    rng = np.random.default_rng(11)
    tensors = []
    for number, name in sorted((number, name) for name, number in TensorProto.DataType.items()):
        if number in (TensorProto.UNDEFINED, TensorProto.STRING):
            continue
        try:
            dtype = helper.tensor_dtype_to_np_dtype(number)
        except KeyError:
            continue
        shape = (3, 5)
        if dtype == bool:
            array = rng.integers(0, 2, shape).astype(bool)
        elif dtype.kind == "c":
            array = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
        elif dtype.kind in "iu" and dtype.itemsize > 1:
            info = np.iinfo(dtype)
            array = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
        elif dtype.kind == "f":
            array = rng.standard_normal(shape).astype(dtype)
        else:
            # The small types of ml_dtypes: any bits will do.
            bits = ml_dtypes.iinfo(dtype).bits if "int" in dtype.name else ml_dtypes.finfo(dtype).bits
            array = rng.integers(0, 2**bits, shape).astype(np.uint8 if bits <= 8 else np.uint16).view(dtype)
        tensors.append(numpy_helper.from_array(array, f"{name}.raw"))
        if "FLOAT6" not in name:
            typed = helper.make_tensor(f"{name}.typed", number, shape, array.flatten())
            tensors.append(typed)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    node = helper.make_node("Constant", [], ["y"], value_floats=[1.0])
    model = helper.make_model(helper.make_graph([node], "types", [], [output], tensors))
    onnx.save_model(model, folder / "types.onnx")
    for tensor in model.graph.initializer:
        if tensor.HasField("raw_data"):
            onnx.external_data_helper.set_external_data(tensor, "types.bin")
    onnx.save_model(model, folder / "types-external.onnx")


def main():
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        export(name, folder)
    every_type(folder)


if __name__ == "__main__":
    main()
