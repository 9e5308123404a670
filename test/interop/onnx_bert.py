"""Writes a small BERT with its tokenizer in the layout of optimum and transformers.js: config.json and the tokenizer in the
folder, the graph in its folder `onnx`.

Usage: python onnx_bert.py <folder> <texts.txt>
"""

import sys
import warnings
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

SIZES = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)


class Encoder(torch.nn.Module):
    """The model with a `forward` that tracing can follow: the library's own mask is made by operators that it cannot."""

    def __init__(self, model):
        super().__init__()
        self.embeddings, self.encoder = model.embeddings, model.encoder

    def forward(self, input_ids, attention_mask, token_type_ids):
        mask = (1.0 - attention_mask[:, None, None, :].float()) * -1e9
        x = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
        return self.encoder(x, attention_mask=mask)[0]


def main():
    folder, texts = Path(sys.argv[1]), sys.argv[2]
    warnings.simplefilter("ignore")
    (folder / "onnx").mkdir(parents=True)
    words = BertWordPieceTokenizer()
    words.train([texts], vocab_size=300, show_progress=False)
    words.save_model(str(folder))
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(folder)

    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(tokenizer), max_position_embeddings=128, attn_implementation="eager", **SIZES
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Matrices with singular values that fall, as those of trained models do.
            if parameter.dim() == 2:
                u, s, v = torch.linalg.svd(parameter, full_matrices=False)
                parameter.copy_(u * (4 * s[0] * 0.9 ** torch.arange(len(s))) @ v)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    tokens = tokenizer(["one text"], return_tensors="pt")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        Encoder(model).eval(),
        tuple(tokens[name] for name in names),
        str(folder / "onnx" / "model.onnx"),
        input_names=names,
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in [*names, "last_hidden_state"]},
        dynamo=False,
        opset_version=17,
    )
    config.save_pretrained(folder)


if __name__ == "__main__":
    main()
