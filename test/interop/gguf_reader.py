"""What the Python package `gguf` says of files made by others.

verdicts FOLDER    for every file, sorted by name, one line of JSON: {"file", "error"}; null = accepted. A file that it is not
                   done with after a second counts as refused, with the error "hangs": it believes every length.
contents FILE      one line of JSON: {"fields": [[name, types, value]], "tensors": {name: {type, shape, sha256}}}; shape as
                   PyTorch counts, sha256 of the tensor's numbers as float32.
make FILE WEIGHTS  writes FILE with a tensor of random blocks of each quantised type, and for the types that Python can make
                   one of the numbers in the safetensors file WEIGHTS.
quantize FILE OUT  float32 numbers as blocks of Q8_0.
names              one line of JSON: {architecture: {name of a tensor of transformers: its name in GGUF}}.
"""

import hashlib
import json
import resource
import signal
import sys
from pathlib import Path

import gguf
import numpy as np


SECONDS = 1
MEMORY_BYTES = 4 * 2**30


class Hangs(BaseException):
    pass


def give_up(*_: object) -> None:
    raise Hangs


def verdict(path: Path) -> str | None:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        gguf.GGUFReader(path)
    except Hangs:
        return "hangs"
    except Exception as error:  # It has no class of its own for faults of a file.
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def contents(path: Path) -> dict:
    reader = gguf.GGUFReader(path)
    fields = [[field.name, [t.name for t in field.types], field.contents()] for field in reader.fields.values()]
    tensors = {}
    for tensor in reader.tensors:
        with np.errstate(all="ignore"):
            numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        # One NaN stands for all of them.
        numbers = np.where(np.isnan(numbers), np.float32("nan"), numbers)
        tensors[tensor.name] = {
            "type": tensor.tensor_type.name,
            "shape": [int(d) for d in reversed(tensor.shape)],
            "offset": int(tensor.data_offset),
            "sha256": hashlib.sha256(np.ascontiguousarray(numbers, dtype="<f4").tobytes()).hexdigest(),
        }
    return {"fields": fields, "tensors": tensors}


QUANTISED = [
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS",
    "TQ1_0", "TQ2_0", "MXFP4", "NVFP4",
]  # fmt: skip


def make(path: Path, weights: Path) -> None:
    from safetensors.numpy import load_file

    # Rows of 256 numbers, so that every type fits.
    real = np.concatenate([tensor.ravel() for tensor in load_file(weights).values()])
    real = real[: real.size // 256 * 256].reshape(-1, 256).astype(np.float32)
    random = np.random.default_rng(3)
    writer = gguf.GGUFWriter(path, "llama")
    for name in QUANTISED:
        kind = gguf.GGMLQuantizationType[name]
        numbers, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (64, 256 // numbers * size), dtype=np.uint8)
        writer.add_tensor(f"random.{name}", blocks, raw_dtype=kind)
        try:
            blocks = gguf.quants.quantize(real, kind)
        except NotImplementedError:
            continue
        writer.add_tensor(f"real.{name}", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


MATRICES = {
    "llama": ["model.layers.1." + name for name in (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    )],
    "gpt2": ["transformer.h.1." + name for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")],
    "gptj": ["transformer.h.1." + name for name in (
        "attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj", "mlp.fc_in", "mlp.fc_out",
    )],
    "gptneox": ["gpt_neox.layers.1." + name for name in (
        "attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h",
    )],
    "phi2": ["model.layers.1." + name for name in (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense", "mlp.fc1", "mlp.fc2",
    )],
    "phi3": ["model.layers.1." + name for name in (
        "self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj",
    )],
    "bert": ["encoder.layer.1." + name for name in (
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "intermediate.dense", "output.dense",
    )],
}  # fmt: skip


def names() -> dict[str, dict[str, str | None]]:
    codes = {name: code for code, name in gguf.MODEL_ARCH_NAMES.items()}
    answer = {}
    for architecture, tensors in MATRICES.items():
        table = gguf.get_tensor_name_map(codes[architecture], 2)
        answer[architecture] = {
            f"{tensor}.weight": table.get_name(f"{tensor}.weight", try_suffixes=(".weight",)) for tensor in tensors
        }
    return answer


def main() -> None:
    command = sys.argv[1]
    if command == "names":
        print(json.dumps(names()))
        return
    path = Path(sys.argv[2])
    if command == "make":
        make(path, Path(sys.argv[3]))
        return
    if command == "quantize":
        numbers = np.fromfile(path, dtype="<f4").reshape(-1, 32)
        gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.Q8_0).tofile(sys.argv[3])
        return
    if command == "contents":
        print(json.dumps(contents(path)))
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, give_up)
    with np.errstate(all="ignore"):
        for file in sorted(path.iterdir()):
            print(json.dumps({"file": file.name, "error": verdict(file)}))


main()
