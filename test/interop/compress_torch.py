"""Runs the program of docs/calibration.md on a small model.

Usage: python compress_torch.py <out.safetensors>

Prints the second moments and the mean of the vectors that the layer q saw, as JSON.
"""

import json
import re
import sys
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k = torch.nn.Linear(6, 5), torch.nn.Linear(6, 5)
        self.down = torch.nn.Linear(5, 3)

    def forward(self, x):
        return self.down(self.q(x) * self.k(x))


def main():
    program = {}
    exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1), program)
    torch.manual_seed(0)
    model = Model()
    moments = program["Moments"](model)
    moments.share("q", "k")
    batches = [torch.randn(1, 4, 6) + 1, torch.randn(2, 5, 6)]
    for x in batches:
        model(x)
    moments.save(sys.argv[1])
    rows = torch.cat([x.reshape(-1, 6) for x in batches]).double()
    second = rows.T @ rows / len(rows)
    print(json.dumps({"second": second.flatten().tolist(), "mean": rows.mean(0).tolist()}))


if __name__ == "__main__":
    main()
