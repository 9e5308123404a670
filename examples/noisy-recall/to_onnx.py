"""Write model.onnx into a model folder of this example. The graph holds no weights: it names the places in
model.safetensors where they lie, as its external data, so one set of weights serves both formats.

    python to_onnx.py                      # model/model.onnx
    python to_onnx.py ../../out/my-model

The graph takes input_ids and attention_mask and gives logits; batch and length are free. Needs `torch`, `transformers`,
`safetensors` and `onnx`.
"""

import argparse
import io
import json
import warnings
from pathlib import Path

import onnx
import torch
from onnx.external_data_helper import set_external_data
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
WEIGHTS = "model.safetensors"


class Logits(torch.nn.Module):
    """The model as a function of two tensors. The mask of the future is made here, by plain comparison, so that it traces."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        past = positions[None, :] <= positions[:, None]
        seen = past[None, None] & (attention_mask[:, None, None, :] > 0)
        # Every position sees itself, or a row of the softmax would be empty.
        seen = seen | (positions[None, :] == positions[:, None])[None, None]
        mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)
        return self.model(input_ids, attention_mask=mask, position_ids=positions[None, :], use_cache=False).logits


def export(folder):
    """The graph with its weights inside."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    axes = {0: "batch", 1: "sequence"}
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits(model),
            (ids, torch.ones_like(ids)),
            file,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": axes},
            opset_version=17,
            dynamo=False,
        )
    return onnx.load_from_string(file.getvalue())


def places(path):
    """Of every tensor of a safetensors file: its offset in the file, and its bytes."""
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    found = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            first, end = (begin + offset for offset in tensor["data_offsets"])
            found[name] = (first, content[first:end])
    return found


def untie(graph, embedding):
    """The exporter stores the output matrix, the embedding transposed, a second time; here it is transposed by a node."""
    table = next(weight for weight in graph.initializer if weight.name == embedding)
    turned = onnx.numpy_helper.to_array(table).T.tobytes()
    second = next(weight for weight in graph.initializer if weight.raw_data == turned)
    at, user = next((at, node) for at, node in enumerate(graph.node) if second.name in node.input)
    user.input[list(user.input).index(second.name)] = "head"
    graph.node.insert(at, onnx.helper.make_node("Transpose", [embedding], ["head"], name="/head/Transpose", perm=[1, 0]))
    graph.initializer.remove(second)


def share(graph, folder):
    """Lets every weight of the graph lie where it lies in model.safetensors."""
    stored = places(folder / WEIGHTS)
    for weight in graph.initializer:
        offset, content = stored[weight.name.removeprefix("model.")]
        if content != weight.raw_data:
            raise SystemExit(f"{weight.name}: its numbers in {WEIGHTS} are others")
        set_external_data(weight, WEIGHTS, offset=offset, length=len(content))
        weight.ClearField("raw_data")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=HERE / "model", help="model folder")
    folder = parser.parse_args().model
    model = export(folder)
    untie(model.graph, "model.transformer.wte.weight")
    share(model.graph, folder)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
