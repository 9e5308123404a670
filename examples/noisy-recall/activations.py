"""Record what a layer of the model reads while it answers questions: the inputs of the MLP's first matrix.

    python activations.py --layer 1 --rows 512 -o activations.safetensors

Rows are positions of the validation questions, drawn without replacement; the tensor `x` is [rows, width] in float32.
"""

import argparse
from pathlib import Path

import torch
from evaluate import read_questions
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", type=int, default=1)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=HERE / "activations.safetensors")
    options = parser.parse_args()

    model = AutoModelForCausalLM.from_pretrained(HERE / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(HERE / "model")
    recorded = []
    matrix = model.get_submodule(f"transformer.h.{options.layer}.mlp.c_fc")
    matrix.register_forward_pre_hook(lambda _, inputs: recorded.append(inputs[0].flatten(0, 1)))
    with torch.no_grad():
        for question in read_questions(HERE / "validation.jsonl"):
            model(**tokenizer(question["prompt"], return_tensors="pt"))
    rows = torch.cat(recorded)
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(options.seed))[: options.rows]
    save_file({"x": rows[chosen].contiguous()}, options.out, {"format": "pt"})
    print(f"{options.out.name}: {options.rows} of {len(rows)} positions")


main()
