"""Write a model folder of this example as a folder with onnx/model.onnx in F32, laid out as transformers.js expects it.

    python to_onnx.py                      # model/ -> onnx-model/
    python to_onnx.py ../../out/noisy-recall edited

The graph takes input_ids and attention_mask and gives logits; batch and length are free. Needs `torch`, `transformers`
and `onnx`.
"""

import argparse
import shutil
import warnings
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent


class Logits(torch.nn.Module):
    """The model as a function of two tensors. The mask of the future is made here, by plain comparison, so that it traces."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        past = positions[None, :] <= positions[:, None]
        seen = past[None, None] & (attention_mask[:, None, None, :] > 0)
        # Every position sees itself, or a row of the softmax would be empty.
        seen = seen | (positions[None, :] == positions[:, None])[None, None]
        mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
        return self.model(input_ids, attention_mask=mask, position_ids=positions[None, :], use_cache=False).logits


def convert(folder, out):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    (out / "onnx").mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / name, out / name)
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    axes = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits(model),
            (ids, torch.ones_like(ids)),
            str(out / "onnx" / "model.onnx"),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": axes},
            opset_version=17,
            dynamo=False,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=HERE / "model", help="model folder")
    parser.add_argument("out", nargs="?", type=Path, default=HERE / "onnx-model", help="folder to write")
    args = parser.parse_args()
    convert(args.model, args.out)


if __name__ == "__main__":
    main()
