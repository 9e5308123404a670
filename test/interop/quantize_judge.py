"""Checks a quantised model and runs it beside the original on inputs:
`python quantize_judge.py <original.onnx> <quantised.onnx> <inputs.safetensors>`.

Prints as JSON how far the outputs are apart, as a share of their size, and the operators that are left
once onnxruntime has loaded the model.
"""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file


def run(path, feeds, optimised=None):
    options = onnxruntime.SessionOptions()
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {each.name: feeds[each.name] for each in session.get_inputs()})[0]


def main(original, quantised, inputs):
    onnx.checker.check_model(quantised, full_check=True)
    feeds = load_file(inputs)
    expected = run(original, feeds)
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        found = run(quantised, feeds, optimised)
        operators = Counter(node.op_type for node in onnx.load(optimised).graph.node)
    error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
    names = [node.name for node in onnx.load(quantised).graph.node]
    print(json.dumps({"error": error, "operators": operators, "names": names}))


if __name__ == "__main__":
    main(*sys.argv[1:])
