"""Serves one contender of the bench that runs in Python: `python serve.py <module> <variant> <task as JSON>`.

The protocol is that of serve.mjs. A module has VARIANTS (name -> function of matrices and
the rank, or the share of energy to keep), `adopt`, `as_numpy` and
`versions`.
"""

import importlib
import json
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np


def answer(message):
    print(json.dumps(message), flush=True)


def peak_rss():
    """Returns the peak of this program in bytes; getrusage would include what the parent held before exec."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Contender:
    def __init__(self, module, variant, task):
        numbers = np.fromfile(task["input"], "<f4")
        if "shapes" in task:
            ends = np.cumsum([m * n for m, n in task["shapes"]])[:-1]
            parts = zip(np.split(numbers, ends), task["shapes"], strict=True)
            self.w = [module.adopt(part.reshape(shape)) for part, shape in parts]
            self.amount = task["ranks"]
        else:
            shape = [task["m"], task["n"]] if task["batch"] == 1 else [task["batch"], task["m"], task["n"]]
            self.w = module.adopt(numbers.reshape(shape))
            self.amount = task.get("energy", task["k"])
        self.approximate = module.VARIANTS[variant]
        self.as_numpy = module.as_numpy
        self.result = None

    def run(self, least):
        self.result = None
        calls = 0
        begin = time.perf_counter()
        while True:
            self.result = self.approximate(self.w, self.amount)
            calls += 1
            elapsed = time.perf_counter() - begin
            if elapsed >= float(least):
                return {"seconds": elapsed / calls, "calls": calls, "peakRss": peak_rss()}

    def write(self, path):
        results = self.result if isinstance(self.result, list) else [self.result]
        with open(path, "wb") as file:
            for result in results:
                np.ascontiguousarray(self.as_numpy(result), dtype="<f4").tofile(file)
        return {}


def main():
    name, variant, task = sys.argv[1:]
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        answer({"absent": str(error)})
        return
    contender = Contender(module, variant, json.loads(task))
    answer({"versions": {**module.versions(), "python": platform.python_version()}, "baseRss": peak_rss()})
    for line in sys.stdin:
        command, _, argument = line.rstrip("\n").partition(" ")
        try:
            answer(getattr(contender, command)(argument))
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}"})


main()
