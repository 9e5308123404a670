"""What the Python package `safetensors` says of files made by others.

verdicts FOLDER   for every file, sorted by name, one line of JSON: {"file", "errors": [messages]}; no error = accepted.
                  A message per way of reading, and several tries, because the reference looks at tensors with equal
                  offsets in a random order.
contents FOLDER   for every file: {"file", "metadata", "tensors": {name: {dtype, shape, hex, values}}}; values only in a
                  file of float32.
serialize FILE    reads {"metadata", "tensors": {name: {dtype, shape, hex}}} and prints, in hexadecimal, the file that
                  safetensors makes of it.
"""

import json
import sys
from pathlib import Path

import safetensors
from safetensors.numpy import load_file

TRIES = 16


def errors(path: Path) -> list[str]:
    content = path.read_bytes()
    found = set()
    for _ in range(TRIES):
        try:
            safetensors.deserialize(content)
        except safetensors.SafetensorError as error:
            found.add(str(error))
        if not found:
            break
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            file.keys()
    except (safetensors.SafetensorError, OSError) as error:
        # Files without a byte cannot be mapped into memory.
        if content:
            found.add(str(error))
    return sorted(found)


def contents(path: Path) -> dict:
    tensors = {}
    for name, tensor in safetensors.deserialize(path.read_bytes()):
        tensors[name] = {"dtype": tensor["dtype"], "shape": list(tensor["shape"]), "hex": bytes(tensor["data"]).hex()}
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    if all(tensor["dtype"] == "F32" for tensor in tensors.values()):
        for name, array in load_file(path).items():
            tensors[name]["values"] = array.ravel().tolist()
    return {"metadata": metadata, "tensors": tensors}


TORCH_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn",
    "I16": "int16", "U16": "uint16", "F16": "float16", "BF16": "bfloat16", "I32": "int32", "U32": "uint32",
    "F32": "float32", "C64": "complex64", "F64": "float64", "I64": "int64", "U64": "uint64",
}  # fmt: skip


def serialize(path: Path) -> str:
    import torch
    from safetensors.torch import save

    given = json.loads(path.read_text("utf-8"))
    tensors = {}
    for name, tensor in given["tensors"].items():
        dtype = getattr(torch, TORCH_DTYPES[tensor["dtype"]])
        data = torch.frombuffer(bytearray.fromhex(tensor["hex"]), dtype=dtype)
        tensors[name] = data.reshape(tensor["shape"])
    return save(tensors, given["metadata"]).hex()


def main() -> None:
    command, path = sys.argv[1], Path(sys.argv[2])
    if command == "serialize":
        print(serialize(path))
        return
    for file in sorted(path.iterdir()):
        answer = {"errors": errors(file)} if command == "verdicts" else contents(file)
        print(json.dumps({"file": file.name, **answer}))


main()
