"""SciPy's SVD (gesdd) in float32."""

import numpy as np
import scipy
from blas import loaded_blas
from numpy_rivals import adopt, as_numpy  # noqa: F401


def svd(w, k):
    if w.ndim == 3:
        return np.stack([svd(one, k) for one in w])
    u, s, vh = scipy.linalg.svd(w, full_matrices=False)
    return (u[:, :k] * s[:k]) @ vh[:k]


def values(w, _):
    return scipy.linalg.svdvals(w)


VARIANTS = {"svd": svd, "values": values}


def versions():
    return {"scipy": scipy.__version__, "numpy": np.__version__, **loaded_blas()}
