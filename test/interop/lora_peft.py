"""Says what PEFT makes of adapters.

    python lora_peft.py <jobs.json> <answers.json>

A job is `{"kind": "deltas", "base", "adapter", "out"}`: loads the adapter, writes every module's `get_delta_weight` to the
safetensors file `out`; or `{"kind": "merged", "base", "adapters", "ours"}`: compares the checkpoint `ours` with PEFT's
`merge_and_unload`. `base` is a folder, or `gpt2` for a random model of GPT-2's size. The answer has PEFT's complaints on
loading; of a merge also the largest difference, relative to the largest entry of its tensor, and how many tensors were
compared.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
import transformers as tf
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file


def load_base(base: str) -> tf.PreTrainedModel:
    if base == "gpt2":
        return tf.GPT2LMHeadModel(tf.GPT2Config(vocab_size=32, n_positions=8))
    return tf.AutoModelForCausalLM.from_pretrained(base, dtype="auto")


def load_adapters(base: str, adapters: list[str]) -> tuple[PeftModel, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(load_base(base), adapters[0], adapter_name="a0")
        for i, adapter in enumerate(adapters[1:], 1):
            model.load_adapter(adapter, adapter_name=f"a{i}")
    words = ("missing", "unexpected", "pattern", "fan_in_fan_out")
    messages = [str(warning.message) for warning in caught]
    return model, [message for message in messages if any(word in message for word in words)]


def deltas(job: dict) -> dict:
    model, complaints = load_adapters(job["base"], [job["adapter"]])
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            delta = module.get_delta_weight("a0").detach()
            found[name.removeprefix("base_model.model.")] = delta.float().contiguous().clone()
    save_file(found, job["out"])
    return {"complaints": complaints}


def merged(job: dict) -> dict:
    model, complaints = load_adapters(job["base"], job["adapters"])
    names = [f"a{i}" for i in range(len(job["adapters"]))]
    theirs = model.merge_and_unload(adapter_names=names).state_dict()
    ours = tf.AutoModelForCausalLM.from_pretrained(job["ours"], dtype="auto").state_dict()
    original = load_base(job["base"]).state_dict()
    differences = {}
    changed = 0
    for name, theirs_tensor in theirs.items():
        assert theirs_tensor.dtype == ours[name].dtype, name
        x, y = ours[name].double(), theirs_tensor.double()
        differences[name] = ((x - y).abs().max() / y.abs().max().clamp_min(1e-30)).item()
        changed += not torch.equal(original[name], theirs_tensor)
    return {
        "complaints": complaints,
        "largest": max(differences.values()),
        "compared": len(differences),
        "changed": changed,
    }


def main() -> None:
    jobs, answers = map(Path, sys.argv[1:])
    kinds = {"deltas": deltas, "merged": merged}
    done = [kinds[job["kind"]](job) for job in json.loads(jobs.read_text())]
    answers.write_text(json.dumps(done))


main()
