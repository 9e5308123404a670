"""PyTorch: its exact SVD, zeta's `Laser` and LASER's `do_low_rank`, each with its own calls."""

import re

import torch


def linalg_svd(w, k):
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    return (u[..., :k] * s[..., None, :k]) @ vh[..., :k, :]


def linalg_svd_energy(w, energy):
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    kept = torch.cumsum(s.double() ** 2, 0)
    k = int(torch.searchsorted(kept, energy * kept[-1])) + 1
    return (u[:, :k] * s[:k]) @ vh[:k]


def layer(matrices, ranks):
    return [linalg_svd(w, k) for w, k in zip(matrices, ranks, strict=True)]


def svdvals(w, _):
    return torch.linalg.svdvals(w)


def zeta_laser(w, k):
    """zeta.nn.modules.laser: torch.svd of one matrix after another, then U_r (diag(S_r) V_r^T)."""
    return torch.stack([_zeta_low_rank(one, k) for one in w]) if w.ndim == 3 else _zeta_low_rank(w, k)


def _zeta_low_rank(w, k):
    u, s, v = torch.svd(w)
    return u[:, :k] @ (torch.diag(s[:k]) @ v[:, :k].T)


def svd_lowrank(w, k):
    """LASER's laser.matrix_utils: torch.svd_lowrank with as many columns as the rank and two iterations."""
    return torch.stack([_svd_lowrank(one, k) for one in w]) if w.ndim == 3 else _svd_lowrank(w, k)


def _svd_lowrank(w, k):
    u, s, v = torch.svd_lowrank(w, q=k, niter=2)
    return u @ torch.diag(s) @ v.T


VARIANTS = {
    "linalg.svd": linalg_svd,
    "energy": linalg_svd_energy,
    "svdvals": svdvals,
    "layer": layer,
    "zeta": zeta_laser,
    "svd_lowrank": svd_lowrank,
}


def adopt(w):
    torch.manual_seed(0)
    return torch.from_numpy(w)


def as_numpy(w):
    return w.numpy()


def versions():
    settings = torch.__config__.show()
    mkl = re.search(r"(oneAPI Math Kernel Library|Intel\(R\) [^\n]*MKL\)?|OpenBLAS)[^\n]*", settings)
    return {"torch": torch.__version__, "BLAS": mkl.group(0).strip() if mkl else "not told"}
