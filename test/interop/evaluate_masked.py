"""A small random BERT as ONNX, and what PyTorch says of its masks.

    evaluate_masked.py <new folder> <questions.jsonl> <answers.json>

The vocabulary is w0 ... w39 and BERT's marks. For each question {"prompt", "choices"}, whose prompt holds one <mask>: the
sum of the log-probabilities of each choice's words, all of them masked at once.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertForMaskedLM

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = {word: i for i, word in enumerate([*MARKS, *(f"w{i}" for i in range(40))])}


def tokenizer_json():
    mark = lambda name: {"id": name, "ids": [VOCABULARY[name]], "tokens": [name]}  # noqa: E731
    special = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}  # noqa: E731
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        **{"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "decoder": None},
        "added_tokens": [{"id": VOCABULARY[name], "content": name, **added} for name in MARKS],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")],
            "pair": [special("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, special("[SEP]")],
            "special_tokens": {name: mark(name) for name in ("[CLS]", "[SEP]")},
        },
        "model": {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"},
    }


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        mask = (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        return self.model(input_ids, attention_mask=mask, token_type_ids=token_type_ids).logits


def log_prob(model, prompt, choice):
    words = choice.split()
    text = prompt.replace("<mask>", " ".join(["[MASK]"] * len(words)))
    ids = [VOCABULARY[word] for word in ["[CLS]", *text.split(), "[SEP]"]]
    logits = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    places = [i for i, token in enumerate(ids) if token == VOCABULARY["[MASK]"]]
    return sum(logits[place, VOCABULARY[word]].item() for place, word in zip(places, words, strict=True))


def main():
    out, questions, answers = map(Path, sys.argv[1:])
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=24, initializer_range=0.5, **sizes)
    config._attn_implementation = "eager"
    model = BertForMaskedLM(config).eval()
    (out / "onnx").mkdir(parents=True)
    (out / "config.json").write_text(json.dumps({**config.to_dict(), "architectures": ["BertForMaskedLM"]}))
    (out / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    (out / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "mask_token": "[MASK]"})
    )
    ids = torch.tensor([[2, 7, 8, 3], [2, 9, 10, 3]])
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {0: "batch", 1: "sequence"}
    torch.onnx.export(
        Logits(model).eval(),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        str(out / "onnx" / "model.onnx"),
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: axes for name in [*names, "logits"]},
        opset_version=17,
        dynamo=False,
    )
    with torch.no_grad():
        rows = [json.loads(line) for line in questions.read_text().splitlines()]
        results = [[log_prob(model, row["prompt"], choice) for choice in row["choices"]] for row in rows]
    answers.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
