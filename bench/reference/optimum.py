"""Computes the error of the best approximation, and the excess of a result over it, in float64."""

from pathlib import Path

import numpy as np
from inputs import fingerprint, spectrum_of

LARGEST_SVD = 4096
ROWS = 1024


def singular_values(task, w, cache):
    """Returns the singular values, float64 [batch, r], of the float32 matrices, and their source.

    Up to LARGEST_SVD by LAPACK in float64, kept under `cache` by the content of the matrices; above it the values that
    the matrices were built from.
    """
    batch, m, n = w.shape
    r = min(m, n)
    built = spectrum_of(task["kind"], r)
    if r > LARGEST_SVD:
        if built is None:
            raise ValueError(f"no way to know the singular values of a {task['kind']} matrix of {m} x {n}")
        return np.tile(built, (batch, 1)), "the spectrum it was built from"
    path = Path(cache) / f"{task['kind']}-{batch}x{m}x{n}-{fingerprint(w)}.npy"
    if path.exists():
        return np.load(path), "float64 SVD"
    s = np.linalg.svd(w.astype(np.float64), compute_uv=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, s)
    return s, "float64 SVD"


def tails(s, k):
    """Returns |W - W_k|_F of every matrix (Eckart and Young 1936)."""
    return np.sqrt(np.sum(s[:, k:] ** 2, axis=1))


def distance(w, approximation=None):
    """Returns |W - What|_F of one matrix, or |W|_F."""
    total = 0.0
    for i in range(0, len(w), ROWS):
        rows = w[i : i + ROWS].astype(np.float64)
        if approximation is not None:
            rows -= approximation[i : i + ROWS]
        total += np.vdot(rows, rows)
    return float(np.sqrt(total))


def compare(w, approximation, tail):
    """Returns excess |W - What| / |W - W_k| - 1 and |W - What| / |W| of the worst matrix of the batch."""
    if not np.isfinite(approximation).all():
        raise ValueError("the result holds a NaN or an infinity")
    errors = np.array([distance(a, b) for a, b in zip(w, approximation, strict=True)])
    norms = np.array([distance(a) for a in w])
    with np.errstate(divide="ignore"):
        return {"excess": float(np.max(errors / tail - 1)), "relativeError": float(np.max(errors / norms))}
