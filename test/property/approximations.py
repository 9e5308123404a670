"""Holds approximations and their certificates against NumPy's SVD in float64: npm run test:property [-- --matrices 3000].

Every matrix is drawn from a seed: its shape, spectrum and scale, and what is asked for. Whatever a certificate says must
be true of the numbers that were returned. Ends with 1 where something is not, and prints each case so that `--only` runs
it again.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
EPS32, EPS64 = 2.0**-23, 2.0**-52
LARGEST = float(np.finfo(np.float32).max)


def orthonormal(rng, m, n):
    return np.linalg.qr(rng.standard_normal((m, n)))[0]


def with_spectrum(rng, m, n, s):
    r = min(m, n)
    return (orthonormal(rng, m, r) * s[:r]) @ orthonormal(rng, n, r).T


def hadamard(order):
    h = np.ones((1, 1))
    while len(h) < order:
        h = np.block([[h, h], [h, -h]])
    return h


def graded(low):
    return lambda rng, m, n: with_spectrum(rng, m, n, np.geomspace(1, low, max(min(m, n), 2)))


def decaying(rng, m, n):
    return with_spectrum(rng, m, n, (1 + np.arange(min(m, n)) / 20) ** -0.7)


def outlier(rng, m, n):
    s = (1 + np.arange(min(m, n)) / 20) ** -0.7
    s[0] = 1000
    return with_spectrum(rng, m, n, s)


def trained(rng, m, n):
    r = min(m, n)
    s = np.sort(rng.standard_normal(r) * 0.02 + 0.1)[::-1]
    lead = max(r // 8, 1)
    s[:lead] += np.arange(1, lead + 1) ** -0.7
    return with_spectrum(rng, m, n, s)


def clustered(rng, m, n):
    r = min(m, n)
    s = np.repeat(2.0 ** -np.arange(8), -(-r // 8))[:r] * (1 + 1e-6 * rng.standard_normal(r))
    return with_spectrum(rng, m, n, np.sort(s)[::-1])


def repeated(rng, m, n):
    r = min(m, n)
    return with_spectrum(rng, m, n, np.repeat([3.0, 1.0, 0.25], -(-r // 3))[:r])


def deficient(rng, m, n):
    k = max(1, min(m, n) // int(rng.integers(2, 9)))
    return rng.standard_normal((m, k)) @ rng.standard_normal((k, n))


def equal_blocks(rng, m, n):
    w = np.zeros((m, n))
    side = max(1, min(m, n) // 4)
    block = rng.standard_normal((side, side))
    for i in range(min(m, n) // side):
        w[i * side : (i + 1) * side, i * side : (i + 1) * side] = block
    return w


def diagonal_ties(rng, m, n):
    w = np.zeros((m, n))
    np.fill_diagonal(w, rng.choice([1.0, 1.0, 1.0, 0.5, 2.0], min(m, n)))
    return w


def permutation(rng, m, n):
    w = np.zeros((m, n))
    r = min(m, n)
    w[rng.permutation(m)[:r], rng.permutation(n)[:r]] = 1
    return w


def hilbert(rng, m, n):
    return 1 / (1.0 + np.arange(m)[:, None] + np.arange(n))


def sparse(rng, m, n):
    return rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.02)


def positive(rng, m, n):
    return 1 + 0.01 * rng.standard_normal((m, n))


def constant(rng, m, n):
    return np.full((m, n), 0.3)


def small_integers(rng, m, n):
    return rng.integers(-2, 3, (m, n)).astype(float)


def laplacian(rng, m, n):
    return 2 * np.eye(m, n) - np.eye(m, n, 1) - np.eye(m, n, -1)


def vandermonde(rng, m, n):
    return np.linspace(-1, 1, m)[:, None] ** np.arange(n)


def noisy_low_rank(rng, m, n):
    return deficient(rng, m, n) + 10.0 ** rng.uniform(-8, -1) * rng.standard_normal((m, n))


def scaled_rows(rng, m, n):
    return rng.standard_normal((m, n)) * 10.0 ** rng.uniform(-8, 0, (m, 1))


SPECTRA = {
    "decaying": decaying,
    "gaussian": lambda rng, m, n: rng.standard_normal((m, n)),
    "graded 1e-3": graded(1e-3),
    "graded 1e-6": graded(1e-6),
    "graded 1e-12": graded(1e-12),
    "outlier": outlier,
    "trained": trained,
    "clustered": clustered,
    "repeated": repeated,
    "deficient": deficient,
    "equal blocks": equal_blocks,
    "diagonal ties": diagonal_ties,
    "permutation": permutation,
    "hilbert": hilbert,
    "hadamard": lambda rng, m, n: hadamard(max(m, n))[:m, :n],
    "sparse": sparse,
    "positive": positive,
    "constant": constant,
    "small integers": small_integers,
    "laplacian": laplacian,
    "vandermonde": vandermonde,
    "noisy low rank": noisy_low_rank,
    "scaled rows": scaled_rows,
}
SCALES = [1.0, 1.0, 1.0, 1.0, 1e-3, 1e3, 1e-10, 1e10, 1e-20, 1e20, 1e-30, 1e30, 1e-38, 1e-42, 1e37, LARGEST]


def side(rng):
    return int(rng.integers(1, 65)) if rng.random() < 0.5 else int(rng.integers(1, 601))


def scaled(w, scale):
    largest = np.abs(w).max()
    if largest == 0:
        return w.astype(np.float32)
    # LARGEST brings the largest entry to the end of float32.
    w = w / largest * LARGEST if scale == LARGEST else w * scale
    return np.clip(w, -LARGEST, LARGEST).astype(np.float32)


def choice_of_rank(rng, r):
    kind = rng.choice(["rank", "rank", "rankFraction", "energy", "tolerance"])
    if kind == "rank":
        return {"rank": int(rng.integers(0, r + 1))}
    if kind == "rankFraction":
        return {"rankFraction": round(float(rng.random()), int(rng.integers(1, 6)))}
    if kind == "energy":
        return {"energy": float(rng.choice([round(float(rng.random()), 3), 0.9, 0.99, 0.999, 1 - 1e-7, 1, 0]))}
    return {"tolerance": float(rng.choice([round(float(rng.random()), 3), 0.1, 1e-2, 1e-3, 1e-4, 1e-6, 0]))}


def case(seed, index):
    rng = np.random.default_rng([seed, index])
    m, n = side(rng), side(rng)
    if rng.random() < 0.3:
        n = m
    batch = int(rng.choice([0, 0, 0, 2, 3])) if m * n < 20_000 else 0
    scale = float(rng.choice(SCALES))
    names = rng.choice(list(SPECTRA), max(batch, 1))
    w = np.stack([scaled(SPECTRA[name](rng, m, n), scale) for name in names])
    options = choice_of_rank(rng, min(m, n))
    # Where block Krylov is at home.
    if min(m, n) >= 192 and rng.random() < 0.4:
        options = {"rank": int(rng.integers(1, min(m, n) // 16))}
    method = rng.choice(["auto", "auto", "auto", "exact", "gram", "krylov"])
    if method != "auto":
        options["method"] = str(method)
    if rng.random() < 0.2:
        options["target"] = float(rng.choice([1e-3, 1e-9, 0.1]))
    if rng.random() < 0.3:
        options["seed"] = int(rng.integers(0, 1000))
    options["threads"] = int(rng.integers(1, 3))
    op = str(rng.choice(["laser", "laser", "factorize"]))
    if op == "laser" and rng.random() < 0.2:
        options["inPlace"] = True
    request = {"op": op, "shape": [m, n] if batch == 0 else [batch, m, n], "options": options}
    if op == "factorize" and rng.random() < 0.4:
        request["truncate"] = int(rng.integers(0, min(m, n) + 1))
    return [str(name) for name in names], scale, w, request


class Optimum:
    """The spectrum in float64, of the matrix brought to about one."""

    def __init__(self, w):
        self.unit = 2.0 ** math.frexp(float(np.abs(w).max()))[1] if w.any() else 1.0
        self.s = np.linalg.svd(w.astype(np.float64) / self.unit, compute_uv=False)
        self.squares = self.s**2
        self.norm = math.sqrt(math.fsum((w.astype(np.float64) / self.unit).ravel() ** 2))
        # What the reference itself does not know of a singular value.
        self.doubt = 4 * EPS64 * math.sqrt(max(w.shape)) * (self.s[0] if len(self.s) else 0)

    def tail(self, k):
        return math.sqrt(math.fsum(self.squares[k:]))

    def ranks(self, options):
        """The ranks that the options may stand for: one, or two where the reference cannot tell."""
        r = len(self.s)
        if "rank" in options:
            return {options["rank"]}
        if "rankFraction" in options:
            return {math.floor(Fraction(repr(options["rankFraction"])) * r)}
        if self.norm == 0:
            return {0}
        if "energy" in options:
            share = 1 - Fraction(repr(options["energy"]))
        else:
            share = Fraction(repr(options["tolerance"])) ** 2
        allowed, doubt = float(share) * self.norm**2, 8 * EPS64 * math.sqrt(r) * self.norm**2
        tails = np.array([math.fsum(self.squares[k:]) for k in range(r + 1)])
        least = int(np.argmax(tails <= allowed + doubt))
        most = int(np.argmax(tails <= allowed - doubt)) if (tails <= allowed - doubt).any() else r
        return set(range(least, most + 1))


def faults_of(w, request, certificate, what, b, a, s):
    """What is not true, as text."""
    options, truncate = request["options"], request.get("truncate")
    best = Optimum(w)
    k, r = certificate["rank"], min(w.shape)
    bound = float(certificate["excessBound"])
    allowed = best.ranks(options)
    if truncate is not None:
        allowed = {min(rank, truncate) for rank in allowed}
    if k not in allowed:
        yield f"rank {k}, expected {sorted(allowed)}"
    if best.norm > 0 and abs(certificate["norm"] / (best.norm * best.unit) - 1) > 1e-12:
        yield f"norm {certificate['norm']}, expected {best.norm * best.unit}"
    error = float(np.linalg.norm((w.astype(np.float64) - what) / best.unit))
    relative = error / best.norm if best.norm > 0 else 0
    # Of factors, the product in float32 was measured; of truncated ones, the error follows from the singular values.
    doubt = 1e-9 * relative if b is None else 4 * EPS32
    # Half the smallest denormal number of float32, in a column of B, relative to s_1.
    grid = math.sqrt(w.shape[0]) * 2.0**-149 / best.unit
    if truncate is not None:
        # The singular values are known to 1e-5 of the largest at worst, and what was dropped to the square of that.
        doubt = max(doubt, 2 * EPS32 + 2e-7 * relative + 2 * r * grid, min(1e-5, 1e-10 * r / max(relative, 1e-10)) + 2e-6)
    if abs(certificate["relativeError"] - relative) > doubt + 1e-15:
        yield f"relativeError {certificate['relativeError']}, expected {relative}"
    tail = best.tail(k) + best.doubt * math.sqrt(r)
    excess = error / tail - 1 if tail > 0 else 0
    if excess > bound + 1e-12:
        yield f"excess {excess:.3e} above excessBound {bound:.3e}"
    following = best.s[k] if k < r else 0
    if abs(certificate["spectralError"] / best.unit - following) > 1e-5 * best.s[0] + (grid if truncate is not None else 0):
        yield f"spectralError {certificate['spectralError'] / best.unit}, expected {following}"
    if b is None:
        return
    if k > 0:
        turned = np.abs(a @ a.T - np.eye(k)).max()
        if turned > 1e-4:
            yield f"A A' is {turned:.1e} from the identity"
    lengths = np.linalg.norm(b / best.unit, axis=0)
    wrong = np.abs(lengths - s / best.unit).max(initial=0)
    if wrong > 1e-5 * best.s[0] + grid:
        yield f"columns of B are {wrong / best.s[0]:.1e} from their singular values"
    wrong = np.abs(s / best.unit - best.s[:k]).max(initial=0)
    if wrong > 1e-5 * best.s[0] + grid:
        yield f"singular values are off by {wrong / best.s[0]:.1e} s_1"


class Lowrank:
    def __init__(self, folder):
        self.input, self.output = os.path.join(folder, "w.f32"), os.path.join(folder, "out.f32")
        program = ["node", str(HERE / "serve.mjs")]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, w, request):
        w.tofile(self.input)
        line = json.dumps({**request, "input": self.input, "output": self.output})
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process ended with {self.process.wait()} at {line}")
        return json.loads(answer)


def judge(w, request, reply, output):
    if "code" in reply:
        # Only what float32 cannot hold may be refused.
        if reply["code"] == "ERR_NOT_FINITE" and np.abs(w).max() > LARGEST / 1e4:
            return []
        return [f"refused: {reply['code']} {reply['message']}"]
    numbers = np.fromfile(output, np.float32).astype(np.float64)
    count, (m, n) = len(w), w.shape[1:]
    faults = []
    if request["op"] == "laser":
        value = numbers.reshape(w.shape)
        for i, certificate in enumerate(reply["certificates"]):
            faults += faults_of(w[i], request, certificate, value[i], None, None, None)
        return faults
    k = reply["rank"]
    b = numbers[: count * m * k].reshape(count, m, k)
    a = numbers[count * m * k : count * (m + n) * k].reshape(count, k, n)
    s = numbers[count * (m + n) * k :].reshape(count, k)
    for i, certificate in enumerate(reply["certificates"]):
        own = certificate["rank"]
        if b[i, :, own:].any() or a[i, own:].any() or s[i, own:].any():
            faults.append(f"factors of rank {own} are not padded with zeros")
        faults += faults_of(w[i], request, certificate, b[i] @ a[i], b[i, :, :own], a[i, :own], s[i, :own])
    return faults


def main(argv=None):
    parser = argparse.ArgumentParser(description="holds approximations and their certificates against float64")
    parser.add_argument("--matrices", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one case")
    arguments = parser.parse_args(argv)
    counted = certificates = infinite = refused = failed = case_number = 0
    routes = {}
    with tempfile.TemporaryDirectory() as folder:
        lowrank = Lowrank(folder)
        while counted < arguments.matrices:
            if arguments.only is not None:
                case_number = arguments.only
            names, scale, w, request = case(arguments.seed, case_number)
            reply = lowrank.ask(w, request)
            faults = judge(w, request, reply, lowrank.output)
            for certificate in reply.get("certificates", []):
                certificates += 1
                infinite += certificate["excessBound"] == "Infinity"
                routes[certificate["method"]] = routes.get(certificate["method"], 0) + 1
            refused += "code" in reply
            if faults:
                failed += 1
                print(f"case {case_number}: {', '.join(names)}, scale {scale:g}, {json.dumps(request)}")
                print(*(f"    {fault}" for fault in faults), sep="\n")
                for c in reply.get("certificates", []):
                    figures = f"relativeError {c['relativeError']:.3e}, excessBound {c['excessBound']}"
                    print(f"    ({' > '.join(c['methodsTried'])}: {figures})")
            counted += len(w)
            case_number += 1
            if arguments.only is not None:
                break
    by_route = ", ".join(f"{name} {count}" for name, count in sorted(routes.items()))
    print(f"seed {arguments.seed}: {counted} matrices in {case_number} cases, {certificates} certificates ({by_route}),")
    print(f"{infinite} of them with an infinite bound, {refused} cases refused, {failed} cases with violations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
