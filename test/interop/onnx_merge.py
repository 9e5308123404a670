"""Merges a decoder with itself as optimum merges two: an If whose branches share the weights of the graph around it.

Usage: python onnx_merge.py <folder of a model> <folder to write> <folder for the model itself, with its data in its file>
       python onnx_merge.py <model.onnx> <merged.onnx> judge

The second writes how far the outputs of each branch of a merged model are from those of the other, relative, as JSON.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def merged(model):
    graph = model.graph
    # As optimum does: small constants stay with the nodes.
    inner = [tensor for tensor in graph.initializer if len(tensor.dims) == 0]
    outer = [tensor for tensor in graph.initializer if len(tensor.dims) > 0]
    branches = {
        f"{name}_branch": helper.make_graph(graph.node, body, [], graph.output, inner)
        for name, body in [("then", "with_past"), ("else", "no_past")]
    }
    outputs = [output.name for output in graph.output]
    node = helper.make_node("If", ["use_cache_branch"], outputs, "optimum::if", **branches)
    chosen = helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])
    whole = helper.make_graph([node], "merged", [*graph.input, chosen], graph.output, outer)
    return helper.make_model(whole, opset_imports=model.opset_import, ir_version=model.ir_version)


def judge(path, merged_path):
    plain, both = (
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]) for each in (path, merged_path)
    )
    ids = np.array([[5, 9, 30, 7, 12]], dtype=np.int64)
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(5, dtype=np.int64)[None]}
    feeds = {value.name: feeds[value.name] for value in plain.get_inputs()}
    expected = plain.run(None, feeds)[0]
    actual = [both.run(None, {**feeds, "use_cache_branch": np.array([chosen])})[0] for chosen in (False, True)]
    print(json.dumps([float(np.linalg.norm(each - expected) / np.linalg.norm(expected)) for each in actual]))


def main():
    source, out = (Path(path) for path in sys.argv[1:3])
    if sys.argv[3] == "judge":
        judge(source, out)
        return
    model = onnx.load(source / "model.onnx")
    for folder, each in [(out, merged(model)), (Path(sys.argv[3]), model)]:
        onnx.checker.check_model(each)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        onnx.save(each, folder / "model.onnx")


if __name__ == "__main__":
    main()
