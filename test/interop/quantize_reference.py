"""Quantises a matrix by ONNX Runtime's own quantiser and runs MatMulNBits:
`python quantize_reference.py <in.safetensors> <bits> <block> <symmetric 0 or 1> <out.safetensors>`.

The input has `w` [outputs, inputs], `x` [rows, inputs], and `codes`, `scales` and, if not symmetric,
`zeros` of another quantiser, with which `x` is multiplied.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import _pybind_state as kernels
from safetensors.numpy import load_file, save_file


def product(x, codes, scales, zeros, bits, block, outputs, inputs):
    given = {"codes": codes.reshape(outputs, -1, block * bits // 8), "scales": scales.reshape(-1)}
    if zeros is not None:
        given["zeros"] = zeros.reshape(-1)
    attributes = {"K": inputs, "N": outputs, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", ["x", *given], ["y"], domain="com.microsoft", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, outputs])],
        [numpy_helper.from_array(value, name) for name, value in given.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def main(source, bits, block, symmetric, target):
    bits, block, symmetric = int(bits), int(block), symmetric == "1"
    given = load_file(source)
    w, x = given["w"], given["x"]
    outputs, inputs = w.shape
    blocks, packed = -(-inputs // block), 8 // bits
    # Rows of zeros fill the last block, as in MatMulNBitsQuantizer.
    columns = np.pad(w.T, ((0, blocks * block - inputs), (0, 0)))
    codes = np.zeros((outputs, blocks, block // packed), np.uint8)
    scales = np.zeros((outputs, blocks), np.float32)
    zeros = np.zeros((outputs, -(-blocks // packed)), np.uint8)
    quantize = getattr(kernels, f"quantize_matmul_{bits}bits")
    quantize(codes, np.ascontiguousarray(columns), scales, zeros, block, outputs, inputs, symmetric)
    found = {"codes": codes, "scales": scales, "zeros": zeros}
    y = product(x, given["codes"], given["scales"], given.get("zeros"), bits, block, outputs, inputs)
    save_file({name: np.ascontiguousarray(value) for name, value in {**found, "y": y}.items()}, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
