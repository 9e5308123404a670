"""Which BLAS a Python library computes with."""


def loaded_blas():
    """Which BLAS libraries are in this process, and the kernels they chose."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return {}
    found = set()
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            kernel = f", kernel {pool['architecture']}" if "architecture" in pool else ""
            found.add(f"{pool['internal_api']} {pool['version']}{kernel}")
    return {"BLAS": "; ".join(sorted(found))} if found else {}
