"""Judges edited ONNX models: makes the same edits in NumPy and compares what onnxruntime computes.

Usage: python onnx_judge.py <jobs.json>

The jobs are a list of {"source", "edited", "edits": [{"node", "rank", "columns"?, "rows"?}]}: models, and for each edit the
node whose second input is the weight, how many singular values stay, and the part of the weight that is meant. Writes a list of
verdicts as JSON.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

TOKENS = np.arange(8)[None] * 5 % 64


def truncated(matrix, rank):
    u, s, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return ((u[:, :rank] * s[:rank]) @ vt[:rank]).astype(matrix.dtype)


def edited_by_numpy(source, edits):
    model = onnx.load(source)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    names = set()
    for edit in edits:
        tensor = weights[nodes[edit["node"]].input[1]]
        names.add(tensor.name)
        matrix = numpy_helper.to_array(tensor).copy()
        rows = slice(*edit.get("rows", (None,)))
        columns = slice(*edit.get("columns", (None,)))
        matrix[rows, columns] = truncated(matrix[rows, columns], edit["rank"])
        tensor.CopyFrom(numpy_helper.from_array(matrix, tensor.name))
    return model, names


def logits(model):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"tokens": TOKENS.astype(np.int64)})[0]


def judge(job):
    onnx.checker.check_model(job["edited"])
    reference, names = edited_by_numpy(job["source"], job["edits"])
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(job["source"]).graph.initializer}
    after = onnx.load(job["edited"])
    changed = [
        tensor.name
        for tensor in after.graph.initializer
        if numpy_helper.to_array(tensor).tobytes() != before[tensor.name].tobytes()
    ]
    for model in (reference, after):
        del model.graph.initializer[:]
    original, expected, actual = (
        logits(job["source"]),
        logits(edited_by_numpy(job["source"], job["edits"])[0].SerializeToString()),
        logits(job["edited"]),
    )
    return {
        "changed": sorted(changed),
        "meant": sorted(names),
        # Of all but the weights: the graph, its nodes and their attributes.
        "sameGraph": reference.SerializeToString() == after.SerializeToString(),
        "error": float(np.abs(actual - expected).max()),
        "effect": float(np.abs(original - expected).max()),
        "tokens": TOKENS.flatten().tolist(),
        "expected": expected.flatten().tolist(),
    }


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        jobs = json.load(file)
    json.dump([judge(job) for job in jobs], sys.stdout)


if __name__ == "__main__":
    main()
