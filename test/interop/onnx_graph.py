"""Walks the graphs of ONNX models, for the programs that judge them."""

import onnx


def nodes(graph):
    """The nodes of a graph, with those in the bodies of its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes(attribute.g)
