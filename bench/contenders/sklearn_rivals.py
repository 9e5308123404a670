"""scikit-learn's randomized_svd with its defaults, and a seed."""

import numpy as np
import sklearn
from blas import loaded_blas
from numpy_rivals import adopt, as_numpy  # noqa: F401
from sklearn.utils.extmath import randomized_svd


def truncated(w, k):
    if w.ndim == 3:
        return np.stack([truncated(one, k) for one in w])
    u, s, vh = randomized_svd(w, n_components=k, random_state=0)
    return (u * s) @ vh


VARIANTS = {"randomized_svd": truncated}


def versions():
    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__, **loaded_blas()}
