"""Finds the BLAS of a Python library."""


def loaded_blas():
    """Lists the BLAS libraries in this process, and their kernels."""
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
