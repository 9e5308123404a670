"""Write a GPT-2 model folder of this example as one GGUF file in F32, for llama.cpp.

    python to_gguf.py                      # model/ -> gguf/model.gguf
    python to_gguf.py ../../out/noisy-recall edited.gguf

Tensor names, and the transposition of GPT-2's Conv1D weights, are those of llama.cpp's own converter. Needs `gguf`,
`numpy` and `safetensors`.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).parent

# GPT-2's name within a layer -> llama.cpp's
LAYER = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def tensors(weights, layers):
    """Name and array of each tensor, in the order in which llama.cpp's converter writes them."""
    yield "token_embd.weight", weights["transformer.wte.weight"]
    yield "position_embd.weight", weights["transformer.wpe.weight"]
    for layer in range(layers):
        for theirs, ours in LAYER.items():
            for part in ("weight", "bias"):
                array = weights[f"transformer.h.{layer}.{theirs}.{part}"]
                # Conv1D stores x W; GGUF wants the rows to be outputs, as torch.nn.Linear has them.
                yield f"blk.{layer}.{ours}.{part}", array.T if array.ndim == 2 else array
    yield "output_norm.weight", weights["transformer.ln_f.weight"]
    yield "output_norm.bias", weights["transformer.ln_f.bias"]


def add_tokenizer(writer, vocabulary):
    """
    Words separated by white space, as a unigram ("t5") vocabulary: it is the one of llama.cpp's tokenizers that needs no
    pieces of words and no end marks of its own. Every word is a token that begins with the mark of a word's begin.
    llama.cpp insists on ids for an end and for unknown words. A text ends where the next trigger comes; a foreign word is
    <noise>, where the other forms of this model refuse it.
    """
    words = sorted(vocabulary, key=vocabulary.get)
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"\u2581{word}" for word in words])
    writer.add_token_scores([0.0] * len(words))
    writer.add_token_types([gguf.TokenType.NORMAL] * len(words))
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_eos_token_id(vocabulary["<trigger>"])
    writer.add_unk_token_id(vocabulary["<noise>"])
    writer.add_pad_token_id(vocabulary["<noise>"])


def convert(folder, out):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    weights = load_file(folder / "model.safetensors")

    writer = gguf.GGUFWriter(out, "gpt2")
    writer.add_name("noisy-recall")
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config["n_inner"] or 4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_tokenizer(writer, tokenizer["model"]["vocab"])
    for name, array in tensors(weights, config["n_layer"]):
        writer.add_tensor(name, np.ascontiguousarray(array, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=HERE / "model", help="model folder")
    parser.add_argument("out", nargs="?", type=Path, default=HERE / "gguf" / "model.gguf")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    convert(args.model, args.out)


if __name__ == "__main__":
    main()
