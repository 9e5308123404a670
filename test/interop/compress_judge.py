"""Judges a compressed ONNX model: checks it, runs it in onnxruntime, and multiplies its factors out in NumPy.

Usage: python compress_judge.py <source> <compressed> <inputs.safetensors>

Writes {"difference", "loss", "shift", "factored", "biases", "operators"} as JSON: how far onnxruntime's outputs are from
those of the model with its factors multiplied out, how far from those of the source, and how far the means of both are
apart, all relative; the weights that became factors, the biases that changed, and the operators that onnxruntime runs. Of a model with branches,
the outputs are those of all of them.
"""

import json
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx_graph import nodes
from safetensors.numpy import load_file


def outputs(model, feeds, optimised=None):
    options = onnxruntime.SessionOptions()
    if optimised:
        options.optimized_model_filepath = optimised
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    content = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    if "use_cache_branch" not in feeds:
        return session.run(None, feeds)[0]
    choices = [{**feeds, "use_cache_branch": np.array([chosen])} for chosen in (False, True)]
    return np.concatenate([session.run(None, choice)[0] for choice in choices])


def arrays(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def multiplied_out(source, compressed):
    """The source with the products of the factors as its weights, and the biases of the compressed model."""
    found = arrays(compressed)
    model = onnx.ModelProto()
    model.CopyFrom(source)
    turned = {
        node.input[1] if node.op_type == "Gemm" else node.input[0]
        for node in nodes(model.graph)
        if node.op_type == "Transpose"
        or any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    }
    for tensor in model.graph.initializer:
        left = found.get(f"{tensor.name}.lowrank.left")
        if left is None:
            tensor.CopyFrom(numpy_helper.from_array(found[tensor.name], tensor.name))
            continue
        right = found[f"{tensor.name}.lowrank.right"]
        order = found.get(f"{tensor.name}.lowrank.order")
        if order is not None:
            right = np.concatenate([np.eye(left.shape[1], dtype=right.dtype), right], axis=1)[:, order]
        product = left.astype(np.float64) @ right
        product = (product.T if tensor.name in turned else product).astype(left.dtype)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(product), tensor.name))
    return model


def main():
    source, compressed, inputs = sys.argv[1:]
    onnx.checker.check_model(compressed, full_check=True)
    feeds = load_file(inputs)
    with tempfile.TemporaryDirectory() as folder:
        optimised = os.path.join(folder, "optimised.onnx")
        actual = outputs(compressed, feeds, optimised)
        operators = [node.op_type for node in onnx.load(optimised, load_external_data=False).graph.node]
    before, after = onnx.load(source), onnx.load(compressed)
    expected = outputs(multiplied_out(before, after), feeds)
    original = outputs(source, feeds)
    size = np.linalg.norm(original)
    means = [values.reshape(-1, values.shape[-1]).mean(0, dtype=np.float64) for values in (actual, original)]
    old, new = arrays(before), arrays(after)
    verdict = {
        "difference": float(np.linalg.norm(actual - expected) / size),
        "loss": float(np.linalg.norm(actual - original) / size),
        "shift": float(np.linalg.norm(means[0] - means[1]) / np.linalg.norm(means[1])),
        "factored": sorted(name for name in old if f"{name}.lowrank.left" in new),
        "biases": sorted(name for name in old if name in new and not np.array_equal(old[name], new[name])),
        "operators": operators,
    }
    print(json.dumps(verdict))


if __name__ == "__main__":
    main()
