"""Answer a question set with a GPT-2 model, if asked after LASER rank reduction, and print one line of JSON.

    python evaluate.py --questions test.jsonl --laser 1:fc_out:0.2

LASER (Sharma, Ash and Misra 2023, arXiv:2312.13558) replaces a weight matrix W by its best approximation of rank
floor(rho * min(m, n)); here by an exact singular value decomposition in float64 NumPy.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
NOISE = "<noise>"

# name -> parameter within the layer, and for the parts of c_attn which third of its columns
MATRICES = {
    "fc_in": ("mlp.c_fc", None),
    "fc_out": ("mlp.c_proj", None),
    "out_proj": ("attn.c_proj", None),
    "q_proj": ("attn.c_attn", 0),
    "k_proj": ("attn.c_attn", 1),
    "v_proj": ("attn.c_attn", 2),
}


def parse_intervention(text):
    layer, name, rho = text.split(":")
    if name not in MATRICES:
        raise argparse.ArgumentTypeError(f"unknown matrix {name!r}, expected one of {', '.join(MATRICES)}")
    return int(layer), name, float(rho)


def truncate(weight, rho):
    """The best approximation of rank floor(rho * min(m, n)), computed in float64; also returns that rank."""
    rank = math.floor(rho * min(weight.shape))
    u, s, vt = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    return ((u[:, :rank] * s[:rank]) @ vt[:rank]).astype(weight.dtype), rank


def apply_laser(model, layer, name, rho):
    """Changes the model in place and returns the kept rank."""
    path, third = MATRICES[name]
    weight = model.get_parameter(f"transformer.h.{layer}.{path}.weight")
    if third is not None:
        width = weight.shape[1] // 3
        weight = weight[:, third * width : (third + 1) * width]  # a view: writing to it changes the model
    with torch.no_grad():
        reduced, rank = truncate(weight.numpy(force=True), rho)
        weight.copy_(torch.from_numpy(reduced))
    return rank


def read_questions(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def token_of(tokenizer, word):
    """The single token that stands for a word."""
    (token,) = tokenizer.encode(word, add_special_tokens=False)
    return token


@torch.no_grad()
def evaluate(model, tokenizer, questions, noise_word=NOISE):
    """Greedy next token after each prompt. One prompt at a time, so that no padding has to be right."""
    noise = token_of(tokenizer, noise_word)
    correct = noisy = log_prob = 0
    for question in questions:
        prompt = tokenizer(question["prompt"], return_tensors="pt", add_special_tokens=False).input_ids
        answer = token_of(tokenizer, question["answer"])
        log_probs = model(prompt, use_cache=False).logits[0, -1].double().log_softmax(-1)
        said = log_probs.argmax().item()
        correct += said == answer
        noisy += said == noise
        log_prob += log_probs[answer].item()
    count = len(questions)
    return {"accuracy": correct / count, "noise_share": noisy / count, "answer_log_prob": log_prob / count}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=HERE / "model", help="model folder")
    parser.add_argument("--questions", default=HERE / "validation.jsonl", help="JSONL of prompt and answer")
    parser.add_argument(
        "--laser",
        type=parse_intervention,
        action="append",
        default=[],
        metavar="LAYER:NAME:RHO",
        help=f"truncate one matrix first, repeatable; names: {', '.join(MATRICES)}",
    )
    args = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    interventions = []
    for layer, name, rho in args.laser:
        rank = apply_laser(model, layer, name, rho)
        interventions.append({"layer": layer, "name": name, "rho": rho, "rank": rank})
    questions = read_questions(args.questions)
    result = evaluate(model, tokenizer, questions)
    print(json.dumps({"questions": len(questions), "laser": interventions, **result}))


if __name__ == "__main__":
    main()
