"""The gradients and updates of PyTorch for the cases of a JSON file, as JSON on standard output."""

import json
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)


def answer(case):
    dim, r, dim_out, leading = case["dim"], case["r"], case["dimOut"], case["leading"]
    given = {
        "A": (dim, r), "B": (r, dim_out), "x": (*leading, dim), "g": (*leading, dim_out),
    }  # fmt: skip
    a, b, x, g = (torch.tensor(case[name], dtype=torch.float32).reshape(shape) for name, shape in given.items())
    for leaf in (a, b, x):
        leaf.requires_grad_()
    y = (x @ a) @ b * case["scale"]
    y.backward(g)
    gradients = {"y": y, "gradX": x.grad, "gradA": a.grad, "gradB": b.grad}
    result = {name: tensor.detach().flatten().tolist() for name, tensor in gradients.items()}
    result["norm"] = torch.nn.utils.clip_grad_norm_([a, b], 1.0).item()
    adamw = torch.optim.AdamW([a, b], lr=0.01, weight_decay=0.1)
    sgd = torch.optim.SGD([a, b], lr=0.01, momentum=0.9, weight_decay=0.1)
    for optimizer in (adamw, adamw, sgd, sgd):
        optimizer.step()
    return {**result, "A": a.detach().flatten().tolist(), "B": b.detach().flatten().tolist()}


json.dump([answer(case) for case in json.loads(Path(sys.argv[1]).read_text())], sys.stdout)
