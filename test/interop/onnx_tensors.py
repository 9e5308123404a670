"""What Python's `onnx` reads from models.

Usage: python onnx_tensors.py <model>...

Writes a list as JSON, for each model {"error"} or {"tensors": [{"name", "type", "shape", "sha256"}]}, the digest that of the numbers
as raw data: little-endian, those smaller than a byte packed with the first in the lowest bits.
"""

import hashlib
import json
import sys

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

BITS = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}


def packed(array, name):
    if name not in BITS:
        return array.tobytes()
    numbers = array.flatten().view(np.uint8)
    bits = np.unpackbits(numbers[:, None], axis=1, bitorder="little")[:, : BITS[name]]
    return np.packbits(bits.flatten(), bitorder="little").tobytes()


def tensors(path):
    found = []
    for tensor in onnx.load(path).graph.initializer:
        if not tensor.name or not isinstance(tensor.name, str):
            raise ValueError("an initializer without a name, or with one that is no text")
        array = numpy_helper.to_array(tensor)
        name = TensorProto.DataType.Name(tensor.data_type)
        data = b"" if array.dtype == object else packed(array, name)
        sha256 = hashlib.sha256(data).hexdigest()
        found.append({"name": tensor.name, "type": name, "shape": list(array.shape), "sha256": sha256})
    return found


def verdict(path):
    try:
        return {"tensors": tensors(path)}
    # The reader has no error of its own: whatever it stumbles over is its verdict.
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    json.dump([verdict(path) for path in sys.argv[1:]], sys.stdout)
