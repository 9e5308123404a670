"""Serves the rivals of the LoRA bench: `python torch_lora.py <variant> <task as JSON>`, with the protocol
of ../contenders/serve.mjs."""

import json
import platform
import sys
import time

import torch


def answer(message):
    print(json.dumps(message), flush=True)


def factors(task):
    dim, r = task["dim"], task["r"]
    a = torch.nn.Parameter(torch.randn(dim, r) / dim**0.5)
    b = torch.nn.Parameter(torch.randn(r, dim) / r**0.5)
    return a, b


def step(task, forward):
    """Computes y = forward(x), then the gradients of x, A and B, and adds them to those of the parameters."""
    a, b = factors(task)
    x = torch.randn(task["batch"], task["dim"], requires_grad=True)
    grad = torch.randn(task["batch"], task["dim"])

    def run():
        x.grad = None
        forward(x, a, b).backward(grad)
        return x.grad

    return run


def adamw(task, **options):
    a, b = factors(task)
    a.grad, b.grad = torch.randn_like(a), torch.randn_like(b)
    optimizer = torch.optim.AdamW([a, b], lr=1e-3, **options)
    return optimizer.step


def dense_svd(task):
    """Computes the best approximation of lower rank by the SVD of the product, like extraction scripts."""
    a, b = (p.detach() for p in factors(task))
    to = task["to"]

    def run():
        u, s, vh = torch.linalg.svd(a @ b, full_matrices=False)
        root = s[:to].sqrt()
        return u[:, :to] * root, root[:, None] * vh[:to]

    return run


VARIANTS = {
    "two": lambda task: step(task, lambda x, a, b: ((x @ a) @ b) * (1 / task["r"])),
    "dense": lambda task: step(task, lambda x, a, b: x @ ((a @ b) * (1 / task["r"]))),
    "adamw": adamw,
    "adamw-fused": lambda task: adamw(task, fused=True),
    "dense-svd": dense_svd,
}


def main():
    variant, task = sys.argv[1:]
    torch.manual_seed(0)
    run = VARIANTS[variant](json.loads(task))
    answer({"versions": {"torch": torch.__version__, "python": platform.python_version()}})
    for line in sys.stdin:
        least = float(line.split()[1])
        calls = 0
        begin = time.perf_counter()
        while True:
            run()
            calls += 1
            elapsed = time.perf_counter() - begin
            if elapsed >= least:
                break
        answer({"seconds": elapsed / calls, "calls": calls})


main()
