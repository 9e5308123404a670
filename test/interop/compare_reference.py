"""The figures of `lowrank compare` in float64 NumPy.

    compare_reference.py <file>

takes {"size", "P", "Q", "tokens"}: logits of an original and of a candidate, row by row, and the tokens that the rows belong to.
"""

import json
import sys
from pathlib import Path

import numpy as np


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def mean_ranks(x):
    """Places in ascending order, the mean of those of equal numbers."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def similarities(x):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    # Rounded, so that pairs of equal rows are equal whatever order a product sums in.
    return np.round((unit @ unit.T)[np.triu_indices(len(x), 1)], 13)


given = json.loads(Path(sys.argv[1]).read_text())
p, q = (np.array(given[name]).reshape(-1, given["size"]) for name in "PQ")
log_p, log_q = log_softmax(p), log_softmax(q)
tokens = np.array(given["tokens"])
print(
    json.dumps(
        {
            "kl": (np.exp(log_p) * (log_p - log_q)).sum(),
            "agreed": int((p.argmax(-1) == q.argmax(-1)).sum()),
            "logProb": log_q[np.arange(len(tokens) - 1), tokens[1:]].sum(),
            "cosine": ((p * q).sum(-1) / np.linalg.norm(p, axis=1) / np.linalg.norm(q, axis=1)).mean(),
            "spearman": np.corrcoef(mean_ranks(similarities(p)), mean_ranks(similarities(q)))[0, 1],
        }
    )
)
