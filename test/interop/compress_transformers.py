"""Runs compressed checkpoints in transformers by the loader beside their weights, and judges them.

Usage: python compress_transformers.py moments <jobs.json>
       python compress_transformers.py judge <jobs.json>

`moments` takes a list of {"model", "out"}: it runs the program of docs/calibration.md on models and random tokens.

`judge` takes a list of {"name", "compressed", "dense"}: two folders, of factors and of what `lowrank expand` made of them.
It writes for each, as JSON, {"name", "factored", "dtype", "difference", "again", "missing", "tokens"}: the modules that are
factors in the loaded model, the type of its numbers, how far its outputs are from those of the dense model (relative to
the largest), how far after `save_pretrained` and a second load, the tensors that the dense model lacks, and whether both
generate the same tokens (null without generation).
"""

import importlib.util
import json
import re
import sys
import tempfile
from pathlib import Path

import torch
import transformers

CALIBRATION = Path(__file__).parents[2] / "docs" / "calibration.md"


def tokens(config, count=1):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, config.vocab_size, (count, 24), generator=generator)


def class_of(config):
    return getattr(transformers, config.architectures[0])


def moments(model, out):
    program = {}
    exec(re.search(r"```python\n(.*?)```", CALIBRATION.read_text(), re.DOTALL).group(1), program)
    config = transformers.AutoConfig.from_pretrained(model)
    network = class_of(config).from_pretrained(model, dtype=torch.float32).eval()
    sums = program["Moments"](network)
    with torch.no_grad():
        for row in tokens(config, 30):
            network(row[None])
    sums.save(out)


def loader_of(folder):
    spec = importlib.util.spec_from_file_location("lowrank_loader", Path(folder) / "lowrank_loader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge(name, compressed, dense):
    loader = loader_of(compressed)
    model = loader.load(compressed)
    expected_model, info = class_of(model.config).from_pretrained(dense, dtype="auto", output_loading_info=True)
    ids = tokens(model.config, 2)

    def outputs(each):
        with torch.no_grad():
            return each.float()(ids)[0]

    factored = [name for name, module in model.named_modules() if isinstance(module, loader.LowRankLinear)]
    dtype = str(model.dtype)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        again = loader.load(saved)
    generated = None
    if model.can_generate() and model.config.architectures[0].endswith(("CausalLM", "LMHeadModel")):
        options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        generated = [each.float().generate(ids[:1], **options).tolist() for each in (model, expected_model)]
    expected, actual = outputs(expected_model), outputs(model)
    size = expected.abs().max()
    return {
        "name": name,
        "factored": factored,
        "dtype": dtype,
        "difference": float((actual - expected).abs().max() / size),
        "again": float((outputs(again) - actual).abs().max() / size),
        "missing": sorted(info["missing_keys"]),
        "tokens": None if generated is None else generated[0] == generated[1],
    }


def main():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    command, path = sys.argv[1:]
    does = {"moments": moments, "judge": judge}[command]
    print(json.dumps([does(**job) for job in json.loads(Path(path).read_text())]))


if __name__ == "__main__":
    main()
