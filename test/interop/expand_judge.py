"""Judges an ONNX model whose factors were multiplied out: checks it, and runs it in onnxruntime beside the compressed one.

Usage: python expand_judge.py <source> <compressed> <expanded> <inputs.safetensors>

Writes {"difference", "sizes", "constants", "operators", "unchanged"} as JSON: how far the outputs of the expanded model, with
every optimisation of onnxruntime switched off, are from those of the compressed one, relative; whether its initialisers have
the names, shapes and types of the source's, in the same order; operators that put factors together; whether it has as many
nodes of each kind that multiplies as the source; and the initialisers with the bytes of the compressed model.
"""

import json
import sys
from collections import Counter

import numpy as np
import onnx
import onnxruntime
from onnx_graph import nodes
from safetensors.numpy import load_file


def outputs(path, feeds, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    if "use_cache_branch" not in names:
        return session.run(None, feeds)
    # Every branch.
    return [
        values
        for branch in [False, True]
        for values in session.run(None, {"x": feeds["x"], "use_cache_branch": np.array([branch])})
    ]


def described(model):
    return [(tensor.name, list(tensor.dims), tensor.data_type) for tensor in model.graph.initializer]


def main():
    source, compressed, expanded, inputs = sys.argv[1:]
    onnx.checker.check_model(expanded, full_check=True)
    feeds = load_file(inputs)
    levels = onnxruntime.GraphOptimizationLevel
    actual = outputs(expanded, feeds, levels.ORT_DISABLE_ALL)
    expected = outputs(compressed, feeds, levels.ORT_ENABLE_ALL)
    before, between, after = (onnx.load(path) for path in [source, compressed, expanded])
    operators = [Counter(node.op_type for node in nodes(model.graph)) for model in (before, after)]
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor).tobytes() for tensor in between.graph.initializer}
    verdict = {
        "difference": max(
            float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b.astype(np.float64)))
            for a, b in zip(actual, expected, strict=True)
        ),
        "sizes": described(before) == described(after),
        "constants": sorted(operators[1].keys() & {"ConstantOfShape", "EyeLike", "Concat", "Gather"}),
        "operators": all(operators[0][each] == operators[1][each] for each in ["MatMul", "Gemm", "Transpose"]),
        "unchanged": sorted(
            tensor.name
            for tensor in after.graph.initializer
            if stored.get(tensor.name) == onnx.numpy_helper.to_array(tensor).tobytes()
        ),
    }
    print(json.dumps(verdict))


if __name__ == "__main__":
    main()
