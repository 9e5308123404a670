"""Makes an adapter in PEFT's form for each of several architectures, and says what it is in GGUF.

python lora_gguf.py FOLDER   writes FOLDER/<case>/base/config.json and FOLDER/<case>/adapter, prints what to expect

Names are those of ggml's Python package `gguf`. The order of rows is that of llama.cpp's converter, written down here from
its conversion/llama.py (LlamaModel.permute) and conversion/gptneox.py.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save_file

HEADS, KEYS, WIDTH, INNER, WORDS, LAYERS, RANK, ALPHA = 4, 2, 32, 48, 40, 2, 4, 8.0
HEAD = WIDTH // HEADS
COMMON = {
    "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "vocab_size": WORDS,
    "num_attention_heads": HEADS,
}  # fmt: skip
LLAMA = {
    "self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (KEYS * HEAD, WIDTH), "self_attn.v_proj": (KEYS * HEAD, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH), "mlp.gate_proj": (INNER, WIDTH), "mlp.up_proj": (INNER, WIDTH),
    "mlp.down_proj": (WIDTH, INNER),
}  # fmt: skip
SQUARE = (WIDTH, WIDTH)
# model_type: architecture in GGUF, prefix, modules [out, in], whether q and k are permuted
CASES = {
    "llama": ("llama", "model.layers.", LLAMA, True),
    "mistral": ("llama", "model.layers.", LLAMA, True),
    "qwen2": ("qwen2", "model.layers.", LLAMA, False),
    "qwen3": ("qwen3", "model.layers.", LLAMA, False),
    "gemma": ("gemma", "model.layers.", LLAMA, False),
    "gemma2": ("gemma2", "model.layers.", LLAMA, False),
    "gemma3_text": ("gemma3", "model.layers.", LLAMA, False),
    "olmo": ("olmo", "model.layers.", LLAMA, True),
    "olmo2": ("olmo2", "model.layers.", LLAMA, False),
    "granite": ("granite", "model.layers.", LLAMA, True),
    "smollm3": ("smollm3", "model.layers.", LLAMA, True),
    "stablelm": ("stablelm", "model.layers.", LLAMA, False),
    "cohere": ("command-r", "model.layers.", LLAMA, False),
    "cohere2": ("cohere2", "model.layers.", LLAMA, False),
    "exaone4": ("exaone4", "model.layers.", LLAMA, False),
    "seed_oss": ("seed_oss", "model.layers.", LLAMA, False),
    "ernie4_5": ("ernie4_5", "model.layers.", LLAMA, False),
    "phi": ("phi2", "model.layers.", {
        **{f"self_attn.{name}": SQUARE for name in ("q_proj", "k_proj", "v_proj", "dense")},
        "mlp.fc1": (INNER, WIDTH), "mlp.fc2": (WIDTH, INNER),
    }, False),
    "phi3": ("phi3", "model.layers.", {
        "self_attn.qkv_proj": ((HEADS + 2 * KEYS) * HEAD, WIDTH), "self_attn.o_proj": SQUARE,
        "mlp.gate_up_proj": (2 * INNER, WIDTH), "mlp.down_proj": (WIDTH, INNER),
    }, False),
    "gpt2": ("gpt2", "transformer.h.", {
        "attn.c_attn": (3 * WIDTH, WIDTH), "attn.c_proj": SQUARE, "mlp.c_fc": (INNER, WIDTH), "mlp.c_proj": (WIDTH, INNER),
    }, False),
    "gpt_neox": ("gptneox", "gpt_neox.layers.", {
        "attention.query_key_value": (3 * WIDTH, WIDTH), "attention.dense": SQUARE,
        "mlp.dense_h_to_4h": (INNER, WIDTH), "mlp.dense_4h_to_h": (WIDTH, INNER),
    }, False),
    "bert": ("bert", "encoder.layer.", {
        **{f"attention.self.{name}": SQUARE for name in ("query", "key", "value")}, "attention.output.dense": SQUARE,
        "intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER),
    }, False),
}  # fmt: skip


def rows(b: np.ndarray, module: str, permuted: bool) -> np.ndarray:
    """The factor B with its rows in GGUF's order."""
    if permuted and module.endswith(("q_proj", "k_proj")):
        heads = HEADS if module.endswith("q_proj") else KEYS
        return b.reshape(heads, 2, b.shape[0] // heads // 2, RANK).swapaxes(1, 2).reshape(b.shape)
    if module.endswith("query_key_value"):
        parts = b.reshape(HEADS, 3, HEAD, RANK)
        return np.concatenate([parts[:, i].reshape(-1, RANK) for i in range(3)])
    return b


def main() -> None:
    folder = Path(sys.argv[1])
    codes = {name: code for code, name in gguf.MODEL_ARCH_NAMES.items()}
    random = np.random.default_rng(7)
    answer = {}
    for model_type, (architecture, prefix, modules, permuted) in CASES.items():
        names = gguf.get_tensor_name_map(codes[architecture], LAYERS)
        tensors, expected = {}, {}
        for layer in range(LAYERS):
            for module, (out, inner) in modules.items():
                path = f"{prefix}{layer}.{module}"
                a = random.standard_normal((RANK, inner)).astype(np.float32)
                b = random.standard_normal((out, RANK)).astype(np.float32)
                tensors[f"base_model.model.{path}.lora_A.weight"] = a
                tensors[f"base_model.model.{path}.lora_B.weight"] = b
                name = names.get_name(f"{path}.weight", try_suffixes=(".weight",))
                expected[f"{name}.lora_a"] = a.tolist()
                expected[f"{name}.lora_b"] = rows(b, module, permuted).tolist()
        base, adapter = folder / model_type / "base", folder / model_type / "adapter"
        base.mkdir(parents=True)
        adapter.mkdir()
        own = {"model_type": model_type}
        # Only models whose k and v have fewer heads than q state them.
        if modules.get("self_attn.k_proj", ()) == (KEYS * HEAD, WIDTH) or model_type == "phi3":
            own["num_key_value_heads"] = KEYS
        (base / "config.json").write_text(json.dumps({**COMMON, **own}))
        save_file(tensors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
        config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": sorted(modules)}
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        answer[model_type] = {"architecture": architecture, "alpha": ALPHA, "tensors": expected}
    print(json.dumps(answer))


main()
