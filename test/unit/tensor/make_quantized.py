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
    "IQ1_S": [0], "IQ1_M": [], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0],
    "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [], "NVFP4": [],
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
        if name == "IQ1_M":  # The scale lies in the upper halves of four bytes.
            bits = random.normal(0, 0.1, BLOCKS).astype("<f2").view("<u2")
            for i in range(4):
                at = 49 + 2 * i
                blocks[:, at] = (blocks[:, at] & 15) | ((bits >> (4 * i)) & 15) << 4
        if name == "MXFP4":  # The exponent of the scale.
            blocks[:, 0] = random.integers(110, 130, BLOCKS)
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
