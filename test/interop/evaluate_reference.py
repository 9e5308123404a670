"""An independent forward pass of Llama models in float64 NumPy, and the same model as ONNX for comparison.

    evaluate_reference.py score <model folder> <requests.json> <answers.json>
    evaluate_reference.py onnx <model folder> <new folder>

`score` takes a list of {"tokens": [...], "reads": [{"position": p, "targets": [...]}]} and gives for each request, for each read, the
log-probabilities of the targets as the token after position p.

`onnx` writes onnx/model.onnx with a tokenizer to which `t17` is token 17, so that the same tokens reach it whatever the
model's own tokenizer is.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, theta):
    """Rotary positions (Su et al. 2021) of x [heads, length, size], the halves of each head as pairs."""
    heads, length, size = x.shape
    frequencies = theta ** (-np.arange(0, size, 2) / size)
    angles = np.outer(np.arange(length), frequencies)
    cos, sin = np.cos(angles), np.sin(angles)
    a, b = x[..., : size // 2], x[..., size // 2 :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_probs(weights, config, tokens):
    """[length, vocabulary]"""
    w = lambda name: weights[f"model.{name}.weight"]  # noqa: E731
    eps, theta = config["rms_norm_eps"], config.get("rope_theta", 10000.0)
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    x = w("embed_tokens")[tokens]
    length = len(tokens)
    future = np.triu(np.full((length, length), -np.inf), 1)
    for layer in range(config["num_hidden_layers"]):
        at = f"layers.{layer}"
        y = rms_norm(x, w(f"{at}.input_layernorm"), eps)
        split = lambda name, n: (y @ w(f"{at}.self_attn.{name}").T).reshape(length, n, -1).transpose(1, 0, 2)  # noqa: E731
        q, k, v = rotate(split("q_proj", heads), theta), rotate(split("k_proj", groups), theta), split("v_proj", groups)
        k, v = (np.repeat(part, heads // groups, axis=0) for part in (k, v))
        attention = softmax(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1]) + future)
        x = x + (attention @ v).transpose(1, 0, 2).reshape(length, -1) @ w(f"{at}.self_attn.o_proj").T
        y = rms_norm(x, w(f"{at}.post_attention_layernorm"), eps)
        gate = y @ w(f"{at}.mlp.gate_proj").T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w(f"{at}.mlp.up_proj").T)) @ w(f"{at}.mlp.down_proj").T
    head = weights["lm_head.weight"] if "lm_head.weight" in weights else w("embed_tokens")
    logits = rms_norm(x, w("norm"), eps) @ head.T
    peak = logits.max(-1, keepdims=True)
    return logits - peak - np.log(np.exp(logits - peak).sum(-1, keepdims=True))


def score(folder, requests, answers):
    config = json.loads((folder / "config.json").read_text())
    weights = {name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()}
    results = []
    for request in json.loads(Path(requests).read_text()):
        table = log_probs(weights, config, np.array(request["tokens"]))
        results.append([[table[read["position"], target] for target in read["targets"]] for read in request["reads"]])
    Path(answers).write_text(json.dumps(results))


def export(folder, out):
    import warnings

    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids):
            length = input_ids.shape[1]
            positions = torch.arange(length)
            past = positions[None, :] <= positions[:, None]
            mask = torch.where(past, 0.0, torch.finfo(torch.float32).min)[None, None]
            return self.model(input_ids, attention_mask=mask, position_ids=positions[None], use_cache=False).logits

    (out / "onnx").mkdir(parents=True)
    (out / "config.json").write_text((folder / "config.json").read_text())
    vocabulary = {f"t{token}": token for token in range(model.config.vocab_size)}
    (out / "tokenizer.json").write_text(
        json.dumps(
            {
                **{"version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None, "decoder": None},
                "pre_tokenizer": {"type": "WhitespaceSplit"},
                "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "t0"},
            }
        )
    )
    (out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    axes = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits(),
            (torch.tensor([[1, 2, 3], [4, 5, 6]]),),
            str(out / "onnx" / "model.onnx"),
            input_names=["input_ids"],
            output_names=["logits"],
            dynamic_axes={"input_ids": axes, "logits": axes},
            opset_version=17,
            dynamo=False,
        )


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "score":
        score(Path(folder), *rest)
    else:
        export(Path(folder), Path(rest[0]))
