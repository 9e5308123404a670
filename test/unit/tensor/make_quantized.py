"""Prints the vectors of quantized.test.ts: for each type two blocks of random bytes with reasonable scales, and what the
Python package `gguf` makes of them. Run: python make_quantized.py > quantized.json
"""

import hashlib
import json

import gguf
import numpy as np

# Where the scales lie, which are half floats, in the blocks of each type.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}  # fmt: skip
BLOCKS = 2


def main() -> None:
    random = np.random.default_rng(5)
    decoded = {}
    for name, scales in SCALES.items():
        kind = gguf.GGMLQuantizationType[name]
        blocks = random.integers(0, 256, (BLOCKS, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
        for at in scales:
            values = random.normal(0, 0.1, (BLOCKS, 1)).astype("<f2")
            blocks[:, at : at + 2] = values.view(np.uint8)
        numbers = gguf.quants.dequantize(blocks, kind).astype("<f4")
        decoded[name] = {
            "blocks": blocks.tobytes().hex(),
            "first": numbers.ravel()[:8].tolist(),
            "sha256": hashlib.sha256(numbers.tobytes()).hexdigest(),
        }
    numbers = (random.standard_normal((6, 32)) * 10.0 ** random.uniform(-8, 4, (6, 1))).astype("<f4")
    numbers[1] = 0
    numbers[2] = np.arange(-16, 16) * 127 / 32  # Halves, which round away from zero.
    numbers[2, 0] = -127
    encoded = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.Q8_0)
    q8 = {"numbers": numbers.tobytes().hex(), "blocks": encoded.tobytes().hex()}
    print(json.dumps({"version": "gguf 0.19.0", "decoded": decoded, "encoded": q8}, indent=2))


main()
