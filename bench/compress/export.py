"""Exports a model of the bench to ONNX, with tokenizer.json and config.json beside it:
`python export.py <exporter> <source> <folder>`.
"""

import json
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import BertModel, LlamaConfig, LlamaForCausalLM

LEGACY, DYNAMO = "legacy", "dynamo"


class Encoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        named = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
        return self.model(**named).last_hidden_state


class Decoder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits


def export(model, inputs, output, exporter, path):
    """Writes a graph for any number of sequences of any length."""
    model.eval()
    example = torch.randint(5, 100, (2, 7))
    arguments = tuple(torch.zeros_like(example) if name == "token_type_ids" else example for name in inputs)
    arguments = tuple(torch.ones_like(a) if n == "attention_mask" else a for a, n in zip(arguments, inputs, strict=True))
    names = {"input_names": inputs, "output_names": [output]}
    if exporter == LEGACY:
        axes = {name: {0: "batch", 1: "sequence"} for name in [*inputs, output]}
        torch.onnx.export(model, arguments, path, dynamo=False, opset_version=17, dynamic_axes=axes, **names)
        return
    batch, sequence = torch.export.Dim("batch", min=1, max=256), torch.export.Dim("sequence", min=2, max=512)
    shapes = ({0: batch, 1: sequence},) * len(inputs)
    program = torch.onnx.export(
        model, arguments, dynamo=True, opset_version=18, dynamic_shapes=shapes, external_data=False, **names
    )
    program.save(path)


def minilm(exporter, source, folder):
    model = BertModel.from_pretrained(source, attn_implementation="eager")
    inputs = ["input_ids", "attention_mask", "token_type_ids"]
    export(Encoder(model), inputs, "last_hidden_state", exporter, folder / "model.onnx")
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"]:
        shutil.copy(Path(source) / name, folder / name)


def llama(model, folder):
    export(Decoder(model), ["input_ids", "attention_mask"], "logits", LEGACY, folder / "model.onnx")
    model.config.save_pretrained(folder)


def babyllama(source, folder):
    llama(LlamaForCausalLM.from_pretrained(source, attn_implementation="eager"), folder)
    vocabulary = (Path(source) / "tok105.vocab").read_text("utf-8").split("\n")
    pieces = [line.split("\t")[0] for line in vocabulary if "\t" in line]
    # Every token is a character, so there is nothing to merge.
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.save(str(folder / "tokenizer.json"))


LAYERS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OTHERS = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def parameter(name):
    """The name that a tensor of a GGUF file has in transformers."""
    stem = name.removesuffix(".weight")
    if stem in OTHERS:
        return f"{OTHERS[stem]}.weight"
    _, layer, kind = stem.split(".")
    return f"model.layers.{layer}.{LAYERS[kind]}.weight"


def smollm2(source, folder):
    reader = gguf.GGUFReader(source)
    field = {key.removeprefix("llama."): value.contents() for key, value in reader.fields.items()}
    heads, groups = field["attention.head_count"], field["attention.head_count_kv"]
    config = LlamaConfig(
        vocab_size=len(field["tokenizer.ggml.tokens"]),
        hidden_size=field["embedding_length"],
        intermediate_size=field["feed_forward_length"],
        num_hidden_layers=field["block_count"],
        num_attention_heads=heads,
        num_key_value_heads=groups,
        max_position_embeddings=field["context_length"],
        rms_norm_eps=field["attention.layer_norm_rms_epsilon"],
        rope_theta=field["rope.freq_base"],
        tie_word_embeddings=True,
        attn_implementation="eager",
    )
    config.architectures = ["LlamaForCausalLM"]
    state = {}
    for tensor in reader.tensors:
        w = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        count = {"attn_q": heads, "attn_k": groups}.get(tensor.name.split(".")[-2])
        if count is not None:
            # GGUF has the two halves of the rotary positions interleaved.
            w = w.reshape(count, -1, 2, w.shape[-1]).swapaxes(1, 2).reshape(w.shape)
        state[parameter(tensor.name)] = torch.from_numpy(np.ascontiguousarray(w))
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = LlamaForCausalLM(config)
    model.load_state_dict(state)
    llama(model, folder)
    vocabulary = {token: i for i, token in enumerate(field["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in field["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))


EXPORTERS = {
    "minilm-legacy": lambda source, folder: minilm(LEGACY, source, folder),
    "minilm-dynamo": lambda source, folder: minilm(DYNAMO, source, folder),
    "smollm2": smollm2,
    "babyllama": babyllama,
}

if __name__ == "__main__":
    torch.manual_seed(0)
    kind, source, target = sys.argv[1:]
    folder = Path(target)
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        EXPORTERS[kind](source, folder)
    versions = {name: sys.modules[name].__version__ for name in ["torch", "transformers", "numpy"]}
    (folder / "versions.json").write_text(json.dumps(versions))
