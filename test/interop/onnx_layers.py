"""Writes ONNX models with linear layers in the forms that exporters give them, for `lowrank compress`.

Usage: python onnx_layers.py <folder>

Every model is in a folder of its own, as model.onnx, beside inputs.safetensors. The folder `quantised` has models that
cannot be compressed.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

IN, HIDDEN, OUT = 32, 48, 40
SAMPLES = 600
# The latest is that of the oldest onnxruntime that the tests run with.
OPSETS = [7, 8, 9, 11, 13, 17, 21, 23]
FLOATS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}

random = np.random.default_rng(5)


def vectors(count, size):
    """Vectors that lie mostly in a few directions, around a mean that is not zero."""
    decay = 0.8 ** np.arange(size)
    return ((random.standard_normal((count, size)) + 1.5) * decay).astype(np.float32)


def weight(inputs, outputs, dtype="float32"):
    """A matrix [inputs, outputs] whose singular values fall."""
    product = (random.standard_normal((inputs, 8)) * 0.7 ** np.arange(8)) @ random.standard_normal((8, outputs))
    return ((product + 0.05 * random.standard_normal((inputs, outputs))) / 8).astype(dtype)


def bias(size, dtype="float32"):
    return random.standard_normal(size).astype(dtype)


class Graph:
    def __init__(self, dtype="float32"):
        self.nodes, self.initializers, self.dtype = [], [], dtype

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], f"/{output}/{operator}", **attributes))
        return output

    def save(self, path, output, opset=17, width=OUT, first=("batch", IN), **options):
        value = FLOATS[self.dtype]
        initializers = {tensor.name: tensor for tensor in self.initializers}
        inputs = [helper.make_tensor_value_info("x", value, first)]
        branching = any(node.op_type == "If" for node in self.nodes)
        if branching:
            inputs.append(helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1]))
        ir = helper.OP_SET_ID_VERSION_MAP[("ai.onnx", opset)]
        if ir < 4:
            inputs += [
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                for tensor in initializers.values()
            ]
        outputs = [helper.make_tensor_value_info(output, value, (*first[:-1], width))]
        graph = helper.make_graph(self.nodes, "layers", inputs, outputs, list(initializers.values()))
        domains = {node.domain for node in self.nodes}
        sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains if domain)]
        model = helper.make_model(graph, opset_imports=sets, ir_version=ir)
        path.mkdir(parents=True)
        onnx.save(model, path / "model.onnx", **options)
        x = vectors(SAMPLES, IN).astype(self.dtype)
        if len(first) == 3:
            x = x.reshape(-1, 6, IN)
        feeds = {"x": x}
        if branching:
            feeds["use_cache_branch"] = np.arange(len(x)) % 3 == 0
        save_file(feeds, path / "inputs.safetensors")


def layers(dtype="float32"):
    """MatMul and Add, the bias on either side, then Gemm with everything that it can do."""
    g = Graph(dtype)
    h = g.node("MatMul", ["x", g.constant("first", weight(IN, HIDDEN, dtype))], "a")
    h = g.node("Relu", [g.node("Add", [g.constant("first.bias", bias(HIDDEN, dtype)), h], "b")], "c")
    h = g.node("MatMul", [h, g.constant("second", weight(HIDDEN, HIDDEN, dtype))], "d")
    h = g.node("Relu", [g.node("Add", [h, g.constant("second.bias", bias(HIDDEN, dtype))], "e")], "f")
    last, last_bias = g.constant("last", weight(OUT, HIDDEN, dtype)), g.constant("last.bias", bias(OUT, dtype))
    g.node("Gemm", [h, last, last_bias], "y", transB=1, alpha=0.5, beta=2.0)
    return g


def transposed():
    """A weight that lies as PyTorch has it, and is turned in the graph."""
    g = Graph()
    turned = g.node("Transpose", [g.constant("first", weight(HIDDEN, IN))], "t", perm=[1, 0])
    h = g.node("Add", [g.node("MatMul", ["x", turned], "a"), g.constant("first.bias", bias(HIDDEN))], "b")
    g.node("MatMul", [h, g.constant("last", weight(HIDDEN, OUT))], "y")
    return g


def shared():
    """One weight and one bias, in three places; in one of them handed on by an Identity."""
    g = Graph()
    h = g.node("MatMul", ["x", g.constant("first", weight(IN, HIDDEN))], "a")
    w, b = g.constant("again", weight(HIDDEN, HIDDEN)), g.constant("again.bias", bias(HIDDEN))
    for i, same in enumerate([w, w, g.node("Identity", [w], "same")]):
        h = g.node("Relu", [g.node("Add", [g.node("MatMul", [h, same], f"m{i}"), b], f"s{i}")], f"r{i}")
    g.node("MatMul", [h, g.constant("last", weight(HIDDEN, OUT))], "y")
    return g


def fused():
    """q, k and v in one product that is split."""
    g = Graph()
    h = g.node("MatMul", ["x", g.constant("qkv", weight(IN, 3 * HIDDEN))], "a")
    h = g.node("Add", [h, g.constant("qkv.bias", bias(3 * HIDDEN))], "b")
    g.nodes.append(helper.make_node("Split", [h, g.constant("sizes", np.full(3, HIDDEN))], ["q", "k", "v"], axis=-1))
    g.node("MatMul", [g.node("Mul", [g.node("Sigmoid", ["q"], "s"), g.node("Add", ["k", "v"], "t")], "u"),
                      g.constant("last", weight(HIDDEN, OUT))], "y")  # fmt: skip
    return g


def square():
    """Square weights, which no shape tells how they lie, used turned by Gemms and by a MatMul, and by one alone."""
    g = Graph()
    turned = g.node("Transpose", ["x"], "xt")
    h = g.node("Gemm", [turned, g.constant("first", weight(IN, IN)), g.constant("first.bias", bias(IN))], "a",
               transA=1, transB=1)  # fmt: skip
    again = g.constant("again", weight(IN, IN))
    h = g.node("Gemm", [h, again, g.constant("again.bias", bias(IN))], "b", transB=1)
    h = g.node("MatMul", [h, g.node("Transpose", [again], "t")], "c")
    g.node("MatMul", [h, g.constant("last", weight(IN, IN))], "y")
    return g


def branches():
    """An If as optimum merges two decoders: both branches multiply by weights of the graph around it."""
    g = Graph()
    first, first_bias = g.constant("first", weight(IN, HIDDEN)), g.constant("first.bias", bias(HIDDEN))
    again, again_bias = g.constant("again", weight(HIDDEN, HIDDEN)), g.constant("again.bias", bias(HIDDEN))
    last, alone = g.constant("last", weight(OUT, HIDDEN)), g.constant("alone", weight(IN, HIDDEN))

    def body(name, more):
        b = Graph()
        h = b.node("Add", [b.node("MatMul", ["x", first], "a"), first_bias], "b")
        for extra in more:
            h = b.node("Add", [h, b.node("MatMul", [b.node("Relu", ["x"], "n"), extra], "m")], "s")
        h = b.node("Relu", [h], "c")
        for i in range(2):
            h = b.node("Relu", [b.node("Add", [b.node("MatMul", [h, again], f"d{i}"), again_bias], f"e{i}")], f"f{i}")
        b.node("Gemm", [h, last], "y", transB=1)
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("batch", OUT))]
        return helper.make_graph(b.nodes, name, [], outputs)

    g.node("If", ["use_cache_branch"], "y", then_branch=body("with_past", [alone]), else_branch=body("no_past", []))
    return g


def attention():
    """q, k and v in one operator of onnxruntime, and a layer before and after."""
    g = Graph()
    h = g.node("MatMul", ["x", g.constant("first", weight(IN, HIDDEN))], "a")
    packed, added = g.constant("packed", weight(HIDDEN, 3 * HIDDEN)), g.constant("packed.bias", bias(3 * HIDDEN))
    h = g.node("Attention", [h, packed, added], "attended", domain="com.microsoft", num_heads=4)
    g.node("MatMul", [h, g.constant("last", weight(HIDDEN, OUT))], "y")
    return g


def quantised(folder):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    source = folder.parent / "fused" / "model.onnx"
    (folder / "int8").mkdir(parents=True)
    quantize_dynamic(source, folder / "int8" / "model.onnx", weight_type=QuantType.QInt8)
    g = Graph()
    packed = g.constant("blocks", random.integers(0, 256, (OUT, IN // 16, 8)).astype(np.uint8))
    scales = g.constant("scales", random.random((OUT, IN // 16)).astype(np.float32))
    g.node("MatMulNBits", ["x", packed, scales], "y", domain="com.microsoft", K=IN, N=OUT, bits=4, block_size=16)
    g.save(folder / "int4", "y")


def main():
    folder = Path(sys.argv[1])
    warnings.simplefilter("ignore")
    for opset in OPSETS:
        layers().save(folder / f"opset-{opset}", "y", opset)
    layers("float16").save(folder / "float16", "y")
    for make in [transposed, shared, fused, branches]:
        make().save(folder / make.__name__, "y")
    square().save(folder / "square", "y", width=IN)
    attention().save(folder / "attention", "y", first=("batch", "tokens", IN))
    external = dict(save_as_external_data=True, size_threshold=0)
    layers().save(folder / "external", "y", location="model.onnx.data", **external)
    layers().save(folder / "external-files", "y", all_tensors_to_one_file=False, **external)
    transposed().save(folder / "external-transposed", "y", location="weights.bin", **external)
    branches().save(folder / "external-branches", "y", location="model.onnx.data", **external)
    quantised(folder / "quantised")


if __name__ == "__main__":
    main()
