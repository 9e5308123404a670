"""Makes the matrices of the bench. They are seeded; some are built from a known spectrum."""

import hashlib
import json
from pathlib import Path

import numpy as np
import scipy.fft

KINDS = ("decaying", "bulk", "deficient", "outlier", "gaussian", "real", "gemm", "trained")
SEED = 20260101


def spectrum_of(kind, r):
    """Returns the r descending singular values from which a matrix of this kind is built, or None."""
    i = np.arange(r, dtype=np.float64)
    power = (1 + i / 20) ** -0.7
    if kind == "decaying":
        return power
    if kind == "bulk":  # A few strong directions on a bulk that falls along a line, as in feed-forward weights.
        return 0.7 * (1 + i / 4) ** -1.5 + 0.3 * (1 - 0.9 * i / r)
    if kind == "trained":  # A power law up to n/8, then a bulk that falls along a line, about as that of noise.
        head = max(r // 8, 1)
        edge = float(head) ** -0.7
        return np.where(i < head, (1 + i) ** -0.7, edge * (1 - 0.98 * (i - head) / (r - head)))
    if kind == "deficient":
        return np.where(i < max(r // 8, 1), power, 0)
    if kind == "outlier":
        return np.where(i == 0, 1000, power)
    return None


def make(task):
    """Returns float32 [batch, m, n] in C order (for "gemm": both operands, one after the other, in one flat array)."""
    kind, batch, m, n = task["kind"], task["batch"], task["m"], task["n"]
    rng = np.random.default_rng([SEED, KINDS.index(kind), batch, m, n])
    if kind == "gemm":
        return rng.standard_normal(m * task["k"] + task["k"] * n, dtype=np.float32)
    if kind == "gaussian":
        return rng.standard_normal((batch, m, n), dtype=np.float32)
    if kind == "real":
        return np.stack([_read(Path(task["file"]), name) for name in task["tensors"]])
    return np.stack([_with_spectrum(spectrum_of(kind, min(m, n)), m, n, rng).astype(np.float32) for _ in range(batch)])


def fingerprint(w):
    return hashlib.sha256(memoryview(np.ascontiguousarray(w)).cast("B")).hexdigest()[:16]


def _with_spectrum(s, m, n, rng):
    """Returns U diag(s) V^T in float64; U and V: twice random signs, a cosine transform, a random order."""
    w = np.zeros((m, n))
    np.fill_diagonal(w, s)
    for axis, size in ((0, m), (1, n)):
        for _ in range(2):
            signs = rng.choice((-1.0, 1.0), size)
            w *= signs[:, None] if axis == 0 else signs
            w = scipy.fft.dct(w, axis=axis, norm="ortho", overwrite_x=True)
            w = np.take(w, rng.permutation(size), axis=axis)
    return w


def _read(path, name):
    """Reads one F32 tensor of a safetensors file."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))[name]
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}, expected F32")
        begin, end = entry["data_offsets"]
        file.seek(8 + size + begin)
        return np.frombuffer(file.read(end - begin), "<f4").reshape(entry["shape"])
