"""Holds approximations weighted by second moments against NumPy in float64: npm run test:property [-- --matrices 3000].

Every case is drawn from a seed: the matrix, the vectors that it multiplies (often fewer than their dimensions, or within a
subspace, so that their moments are singular), how the moments are given, and what is asked for. The excess of the weighted
error over the smallest possible one must be at most what the certificate says.
"""

import argparse
import json
import math
import os
import sys
import tempfile

import numpy as np
from approximations import EPS32, SPECTRA, Lowrank, scaled, side


def vectors(rng, n):
    """Vectors of calibration, one a row."""
    count = int(rng.choice([max(n // 4, 1), n, 4 * n]))
    kind = rng.choice(["independent", "correlated", "subspace", "outliers", "mean", "none"], p=[0.15, 0.25, 0.2, 0.2, 0.15, 0.05])
    x = rng.standard_normal((count, n))
    if kind == "correlated":
        x = x @ (np.linalg.qr(rng.standard_normal((n, n)))[0] * np.geomspace(1, 10.0 ** -rng.uniform(1, 4), n))
    elif kind == "subspace":
        rank = max(1, n // 3)
        x = rng.standard_normal((count, rank)) @ rng.standard_normal((rank, n))
    elif kind == "outliers":
        x = x * np.where(rng.random(n) < 0.02, 1000.0, 10.0 ** rng.uniform(-3, 0, n))
    elif kind == "mean":
        x = x + 10 * rng.standard_normal(n)
    elif kind == "none":
        x = x * 0
    return str(kind), x


def case(seed, index):
    rng = np.random.default_rng([7, seed, index])
    m, n = side(rng), side(rng)
    name = str(rng.choice(list(SPECTRA)))
    scale = float(rng.choice([1.0, 1.0, 1e-3, 1e3, 1e-10, 1e10]))
    w = scaled(SPECTRA[name](rng, m, n), scale)
    inputs, x = vectors(rng, n)
    wide = w.astype(np.float64)
    c = x.T @ x / len(x)
    kind = str(rng.choice(["inputs", "inputs", "diagonal", "outputs"]))
    second = {"inputs": c, "diagonal": np.diag(c).copy(), "outputs": wide @ c @ wide.T}[kind]
    if kind == "outputs":
        second = (second + second.T) / 2
    # As a file of float32 holds them.
    stored = bool(rng.random() < 0.3)
    if stored:
        second = second.astype(np.float32).astype(np.float64)
    r = min(m, n)
    options = {"rank": int(rng.integers(0, r + 1))}
    if rng.random() < 0.2:
        options = {"energy": round(float(rng.random()), 3)}
    method = str(rng.choice(["auto", "auto", "exact", "gram", "krylov"]))
    options.update(method=method, threads=int(rng.integers(1, 3)))
    request = {"op": "factorize", "shape": [m, n], "options": options}
    text = f"{name}, inputs {inputs}, moments {kind}{' in float32' if stored else ''}, scale {scale:g}"
    return text, w, kind, second, stored, request


def faults_of(w, kind, second, stored, request, reply, output):
    if "code" in reply:
        yield f"refused: {reply['code']} {reply['message']}"
        return
    m, n = w.shape
    certificate, k = reply["certificates"][0], reply["rank"]
    numbers = np.fromfile(output, np.float32).astype(np.float64)
    b, a, s = numbers[: m * k].reshape(m, k), numbers[m * k : (m + n) * k].reshape(k, n), numbers[(m + n) * k :]
    wide = w.astype(np.float64)
    if "rank" in request["options"] and k != request["options"]["rank"]:
        yield f"rank {k}"
    c = np.diag(second) if kind == "diagonal" else second
    values, vectors = np.linalg.eigh(c)
    root = vectors * np.sqrt(np.maximum(values, 0))
    left, d = (root, np.eye(m) - b @ b.T) if kind == "outputs" else (wide @ root, wide - b @ a)
    best = np.linalg.svd(left, compute_uv=False)
    norm = math.sqrt(math.fsum(best**2))
    error = math.sqrt(max(np.einsum("ij,ij->", d @ c, d), 0))
    # What the moments themselves leave open: they may be indefinite by their rounding.
    power = np.linalg.norm(d * np.sqrt(np.maximum(np.diag(c), 0)))
    open_ = 2e-7 * power + 1e-14 * norm
    if abs(certificate["norm"] - norm) > 1e-6 * norm + 1e-6 * open_:
        yield f"norm {certificate['norm']}, expected {norm}"
    measured = certificate["relativeError"] * certificate["norm"]
    if abs(measured - error) > 1e-9 * error + 1e-7 * power:
        yield f"error {measured}, expected {error}"
    least = math.sqrt(math.fsum(best[k:] ** 2))
    bound = float(certificate["excessBound"])
    if error > least * (1 + bound) * (1 + 1e-12) + 2e-8 * power + 1e-14 * norm:
        yield f"excess {error / least - 1 if least > 0 else math.inf:.3e} above excessBound {bound:.3e}"
    # A bound says something where the error is well above rounding.
    told = kind != "outputs" and not stored and least > 1e-3 * np.linalg.norm(wide * np.sqrt(np.maximum(np.diag(c), 0)))
    if told and bound > 1e-2:
        yield f"excessBound {bound:.3e} at relative error {error / norm:.1e}"
    if k > 0 and np.abs(b.T @ b - np.eye(k)).max() > 1e-4:
        yield "B' B is not the identity"
    if k > 0 and np.abs(a - b.T @ wide).max() > 1e-4 * np.abs(wide).max():
        yield "A is not B' W"
    wrong = np.abs(s - np.pad(best, (0, max(0, k - len(best))))[:k]).max(initial=0)
    # The rounding of the moments shows in their square roots.
    if wrong > (1e-3 if stored else 3e-5) * best[0] + 1e-3 * open_:
        yield f"singular values are off by {wrong / best[0]:.1e} s_1"


def main(argv=None):
    parser = argparse.ArgumentParser(description="holds weighted approximations against float64")
    parser.add_argument("--matrices", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one case")
    arguments = parser.parse_args(argv)
    failed, singular, infinite = 0, 0, 0
    cases = range(max(arguments.matrices // 10, 1)) if arguments.only is None else [arguments.only]
    with tempfile.TemporaryDirectory() as folder:
        lowrank = Lowrank(folder)
        file = os.path.join(folder, "second.f64")
        for index in cases:
            text, w, kind, second, stored, request = case(arguments.seed, index)
            second.tofile(file)
            reply = lowrank.ask(w, {**request, "moments": {"kind": kind, "file": file}})
            singular += kind != "diagonal" and np.linalg.matrix_rank(second) < len(second)
            infinite += any(c["excessBound"] == "Infinity" for c in reply.get("certificates", []))
            faults = list(faults_of(w, kind, second, stored, request, reply, lowrank.output))
            if faults:
                failed += 1
                print(f"case {index}: {list(w.shape)} {text}, {json.dumps(request['options'])}")
                print(*(f"    {fault}" for fault in faults), sep="\n")
                print(f"    {[(c['methodsTried'], c['relativeError'], c['excessBound']) for c in reply.get('certificates', [])]}")
    print(f"seed {arguments.seed}: {len(cases)} weighted cases, {singular} with singular moments,")
    print(f"{infinite} with an infinite bound, {failed} cases with violations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
