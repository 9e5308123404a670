"""Judges a compressed ONNX model: checks it, runs it in onnxruntime, and multiplies its factors out in NumPy.

Usage: python compress_judge.py <source> <compressed> <inputs.safetensors>

Writes {"difference", "loss", "operators"} as JSON: how far onnxruntime's outputs are from those of the model with its factors
multiplied out, how far from those of the source, both relative; and the operators that onnxruntime runs.
"""

import json
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from safetensors.numpy import load_file


def outputs(model, feeds, optimised=None):
    options = onnxruntime.SessionOptions()
    if optimised:
        options.optimized_model_filepath = optimised
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


def multiplied_out(source, compressed):
    """The source with the products of the factors as its weights."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in compressed.graph.initializer}
    model = onnx.ModelProto()
    model.CopyFrom(source)
    turned = {
        node.input[1]
        for node in model.graph.node
        if any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    }
    for tensor in model.graph.initializer:
        left = found.get(f"{tensor.name}.lowrank.left")
        if left is None:
            continue
        right = found[f"{tensor.name}.lowrank.right"]
        order = found.get(f"{tensor.name}.lowrank.order")
        if order is not None:
            right = np.concatenate([np.eye(left.shape[1], dtype=right.dtype), right], axis=1)[:, order]
        product = left.astype(np.float64) @ right
        product = (product.T if tensor.name in turned else product).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(product), tensor.name))
    return model


def main():
    source, compressed, inputs = sys.argv[1:]
    onnx.checker.check_model(compressed, full_check=True)
    feeds = load_file(inputs)
    with tempfile.TemporaryDirectory() as folder:
        optimised = os.path.join(folder, "optimised.onnx")
        actual = outputs(compressed, feeds, optimised)
        operators = [node.op_type for node in onnx.load(optimised).graph.node]
    expected = outputs(multiplied_out(onnx.load(source), onnx.load(compressed)), feeds)
    original = outputs(source, feeds)
    size = np.linalg.norm(original)
    verdict = {
        "difference": float(np.linalg.norm(actual - expected) / size),
        "loss": float(np.linalg.norm(actual - original) / size),
        "operators": operators,
    }
    print(json.dumps(verdict))


if __name__ == "__main__":
    main()
