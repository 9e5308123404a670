"""Quantises a model by onnxruntime's own tools: `python baselines.py <model.onnx> <texts> <tokens> <out.onnx> <settings>`.

Settings are JSON, as in bits-cases.mjs. Prints JSON: the seconds, and the bits a weight of the linear layers.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import (
    GPTQWeightOnlyQuantConfig,
    HQQWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)
from tokenizers import Tokenizer


class Texts(CalibrationDataReader):
    """The texts of a calibration as inputs of the model: those of one length in one run, which sums to the same."""

    def __init__(self, model, texts, tokens):
        tokenizer = Tokenizer.from_file(str(model.parent / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(tokens)
        names = [each.name for each in onnx.load(model, load_external_data=False).graph.input]
        groups = {}
        for line in texts.read_text("utf-8").splitlines():
            ids = tokenizer.encode(json.loads(line)["text"]).ids
            groups.setdefault(len(ids), []).append(ids)
        self.feeds = iter([feed(names, np.array(ids, np.int64)) for ids in groups.values()])

    def get_next(self):
        return next(self.feeds, None)


def feed(names, ids):
    known = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {name: known[name] for name in names}


def quantise(model, texts, tokens, out, settings):
    method = settings["method"]
    if method == "dynamic":
        quantize_dynamic(
            model,
            out,
            weight_type=QuantType.QInt8,
            per_channel=settings.get("channels", False),
            reduce_range=settings.get("reduceRange", False),
        )
        return
    bits, block = settings["bits"], settings["block"]
    shared = {"bits": bits, "block_size": block, "is_symmetric": settings.get("symmetric", True), "accuracy_level": 4}
    # GPTQ's own block is the number of columns between two updates of the rest.
    config = {
        "rtn": lambda: None,
        "hqq": lambda: HQQWeightOnlyQuantConfig(block_size=block, bits=bits),
        "gptq": lambda: GPTQWeightOnlyQuantConfig(calibration_data_reader=Texts(model, texts, tokens)),
    }[method]()
    operators = ("MatMul", "Gather") if settings.get("embeddings") else ("MatMul",)
    given = {"op_types_to_quantize": operators} if config is None else {"algo_config": config}
    quantizer = MatMulNBitsQuantizer(onnx.load(model), **shared, **given)
    quantizer.process()
    quantizer.model.save_model_to_file(str(out), use_external_data_format=False)


def sizes(model):
    """The bytes of the initialisers by name."""
    return {each.name: each.ByteSize() for each in model.graph.initializer}


def bits_of_layers(model, out):
    """Bits a weight of the matrices that MatMul nodes multiply by: of all that takes their place."""
    before, after = onnx.load(model), onnx.load(out)
    stored, kept = sizes(before), sizes(after)
    shapes = {each.name: each.dims for each in before.graph.initializer}
    linear = {node.input[1] for node in before.graph.node if node.op_type == "MatMul" and node.input[1] in shapes}
    embeddings = {node.input[0] for node in before.graph.node if node.op_type == "Gather" and node.input[0] in shapes}
    others = tuple(f"{name}_" for name in embeddings if name not in linear)
    taken = sum(size for name, size in kept.items() if name not in stored and not name.startswith(others))
    rest = sum(stored[name] for name in linear if name in kept)
    return 8 * (taken + rest) / sum(int(np.prod(shapes[name])) for name in linear)


def main(model, texts, tokens, out, settings):
    model, texts, out = Path(model), Path(texts), Path(out)
    begin = time.perf_counter()
    quantise(model, texts, int(tokens), out, json.loads(settings))
    seconds = time.perf_counter() - begin
    # GPTQ leaves its progress on the line.
    print()
    print(json.dumps({"seconds": seconds, "bits": bits_of_layers(model, out)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
