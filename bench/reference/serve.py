"""Makes inputs and checks results for bench/run.mjs: one JSON request a line in, one JSON answer a line out."""

import json
import sys

import numpy as np
import scipy
from inputs import make, spectrum_of
from optimum import compare, singular_values, tails


class Reference:
    def __init__(self):
        self.task = self.w = self.s = self.origin = None

    def make(self, task, path, cache):
        self.task = task
        if task["op"] == "layer":
            return self.make_layer(path, cache)
        self.w = make(task)
        self.w.tofile(path)
        if task["kind"] == "gemm":
            return {}
        self.s, self.origin = singular_values(task, self.w, cache)
        return {}

    def make_layer(self, path, cache):
        """Makes matrices of several shapes, one after the other in the file."""
        self.w, self.s = [], []
        with open(path, "wb") as file:
            for m, n in self.task["shapes"]:
                w = make({**self.task, "batch": 1, "m": m, "n": n})
                w.tofile(file)
                s, self.origin = singular_values(self.task, w, cache)
                self.w.append(w)
                self.s.append(s)
        return {}

    def layer_tails(self):
        return [tails(s, k) for s, k in zip(self.s, self.task["ranks"], strict=True)]

    def rank(self, k):
        """Returns k or, where a share of the energy is to be kept, the smallest rank that keeps it."""
        if "energy" not in self.task:
            return k
        kept = np.cumsum(self.s[0] ** 2)
        return int(np.searchsorted(kept, self.task["energy"] * kept[-1])) + 1

    def optimum(self, k):
        """Returns |W - W_k| / |W|, and the difference to the spectrum that the matrix was built from."""
        if self.task["op"] == "layer":
            errors = [tail / tails(s, 0) for tail, s in zip(self.layer_tails(), self.s, strict=True)]
            return {"k": k, "from": self.origin, "relativeError": float(np.max(errors))}
        k = self.rank(k)
        tail = tails(self.s, k)
        answer = {"k": k, "from": self.origin, "relativeError": float(np.max(tail / tails(self.s, 0)))}
        built = spectrum_of(self.task["kind"], self.s.shape[1])
        if built is not None and built[k:].any():
            answer["constructionDiffers"] = float(np.max(np.abs(tails(built[None], k) / tail - 1)))
        return answer

    def check(self, path, k):
        result = np.fromfile(path, "<f4")
        if self.task["kind"] == "gemm":
            m, n, inner = self.task["m"], self.task["n"], self.task["k"]
            a, b = np.split(self.w.astype(np.float64), [m * inner])
            exact = a.reshape(m, inner) @ b.reshape(inner, n)
            return {"relativeError": float(np.linalg.norm(result.reshape(m, n) - exact) / np.linalg.norm(exact))}
        if self.task["op"] == "layer":
            parts = np.split(result, np.cumsum([w.size for w in self.w])[:-1])
            tuples = zip(self.w, parts, self.layer_tails(), strict=True)
            found = [compare(w, part.reshape(w.shape), tail) for w, part, tail in tuples]
            return {name: max(one[name] for one in found) for name in found[0]}
        if self.task["op"] == "values":
            return {"relativeError": float(np.max(np.abs(result - self.s[0])) / self.s[0, 0])}
        return compare(self.w, result.reshape(self.w.shape), tails(self.s, self.rank(k)))


def main():
    print(json.dumps({"versions": {"numpy": np.__version__, "scipy": scipy.__version__}}), flush=True)
    reference = Reference()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(reference, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
