"""Answer questions for `lowrank eval --command`, with any causal language model that transformers loads.

    lowrank eval model --dataset test.jsonl --command 'python score.py {checkpoint} {questions}'

The file of questions has one JSON object a line: an id, a prompt, and either an answer or choices. For each, a line of
JSON with log-probabilities goes to standard output; lowrank makes metrics of them.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOP = 10


def continuations(question):
    """What may follow the prompt, parted from it by a space."""
    answers = question["choices"] if question["kind"] == "choice" else [question["answer"]]
    prompt = question["prompt"]
    return [answer if prompt[-1:].isspace() or answer[:1].isspace() else f" {answer}" for answer in answers]


@torch.no_grad()
def score(model, tokenizer, question):
    prompt = tokenizer(question["prompt"]).input_ids
    sums, lengths, first = [], [], None
    for continuation in continuations(question):
        tokens = tokenizer(question["prompt"] + continuation).input_ids
        shared = 0  # a tokenizer may join what meets; what both begin with is given, the rest is scored
        while shared < min(len(prompt), len(tokens) - 1) and prompt[shared] == tokens[shared]:
            shared += 1
        logits = model(torch.tensor([tokens[:-1]]), use_cache=False).logits[0]
        log_probs = logits[shared - 1 :].double().log_softmax(-1)
        scored = torch.tensor(tokens[shared:])
        sums.append(log_probs.gather(1, scored[:, None]).sum().item())
        lengths.append(len(scored))
        if first is None:
            first = log_probs[0], tokens[shared]
    right = question.get("label", 0)
    found = {"id": question["id"], "answerLogProb": sums[right], "answerTokens": lengths[right]}
    if question["kind"] == "choice":
        return {**found, "choiceLogProbs": sums}
    log_probs, token = first
    values, likeliest = log_probs.topk(min(TOP, len(log_probs)))
    top = [
        {"text": tokenizer.decode([other]), "logProb": value}
        for other, value in zip(likeliest.tolist(), values.tolist(), strict=True)
    ]
    rank = (likeliest == token).nonzero()
    if len(rank):
        found["rank"] = rank.item()
    if lengths[0] == 1:
        found["correct"] = likeliest[0].item() == token
    return {**found, "top": top}


def main():
    checkpoint, questions = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    with open(questions, encoding="utf-8") as lines:
        for line in lines:
            print(json.dumps(score(model, tokenizer, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
