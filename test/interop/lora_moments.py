"""Runs a small Llama in transformers, for tests that compare it with llama.cpp.

python lora_moments.py moments MODEL TOKENS OUT.safetensors IMATRIX.gguf   moments of the inputs of all linear layers
python lora_moments.py adapter MODEL TOKENS FOLDER LOGITS                  a random adapter, and the logits with it

TOKENS is a JSON file with a list of numbers.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM

PIECE = 128


def moments(model: torch.nn.Module, tokens: list[int], out: Path, imatrix: Path) -> None:
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}

    def hook(name: str):
        def add(_, inputs) -> None:
            x = inputs[0].reshape(-1, inputs[0].shape[-1]).double().numpy()
            sums[name] = sums.get(name, 0) + x.T @ x
            counts[name] = counts.get(name, 0) + len(x)

        return add

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(hook(f"{name}.weight"))
    for begin in range(0, len(tokens), PIECE):
        model(torch.tensor([tokens[begin : begin + PIECE]]))
    save_file(
        {f"{name}.inputs": total / counts[name] for name, total in sums.items()},
        out,
        metadata={"lowrank": "moments"},
    )
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    writer = gguf.GGUFWriter(imatrix, "llama")
    writer.add_type("imatrix")
    for name, total in sums.items():
        own = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(f"{own}.in_sum2", np.diag(total).astype(np.float32)[None].copy())
        writer.add_tensor(f"{own}.counts", np.array([[counts[name]]], dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def adapter(model: torch.nn.Module, tokens: list[int], folder: Path, logits: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False)
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data.mul_(0.5)
    adapted.save_pretrained(folder)
    adapted(torch.tensor([tokens])).logits[0].float().numpy().astype("<f4").tofile(logits)


@torch.no_grad()
def main() -> None:
    command, path, tokens, *out = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    run = {"moments": moments, "adapter": adapter}[command]
    run(model, json.loads(Path(tokens).read_text()), *map(Path, out))


main()
