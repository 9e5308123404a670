"""Runs all property tests: npm run test:property [-- --matrices 3000 --seed 1].

The widest path of this processor gets all matrices, each narrower one (LOWRANK_SIMD) a fifth of them, with another
seed.
"""

import argparse
import json
import os
import subprocess
import sys

import approximations
import weighted

NARROWER_SHARE = 5
INFO = "console.log(JSON.stringify(require('./build/Release/lowrank.node').info()))"


def narrower_paths():
    root = approximations.HERE.parent.parent
    info = json.loads(subprocess.run(["node", "-e", INFO], cwd=root, check=True, capture_output=True, text=True).stdout)
    return [path for path in info["simdPaths"] if path != info["simd"]]


def run(matrices, seed):
    arguments = ["--matrices", str(matrices), "--seed", str(seed)]
    return approximations.main(arguments) | weighted.main(arguments)


def main():
    parser = argparse.ArgumentParser(description="holds approximations against float64 on every path of this processor")
    parser.add_argument("--matrices", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    failed = run(arguments.matrices, arguments.seed)
    if "LOWRANK_SIMD" in os.environ:
        return failed
    for i, path in enumerate(narrower_paths()):
        os.environ["LOWRANK_SIMD"] = path
        print(f"on {path}:")
        failed |= run(max(arguments.matrices // NARROWER_SHARE, 1), arguments.seed + 1 + i)
    return failed


if __name__ == "__main__":
    sys.exit(main())
