"""Exports models of `family_models.py` to ONNX, as modules that return only their output.

    python family_onnx.py <models> <folder> <model> ...

The last folder gets `<model>/model.onnx` with `config.json` beside it.
"""

import sys
import warnings
from pathlib import Path

import torch
import transformers as tf
from family_judge import OUTPUTS, inputs_of, load


class OnlyOutput(torch.nn.Module):
    def __init__(self, model: tf.PreTrainedModel, names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        output = self.model(**dict(zip(self.names, values, strict=True)))
        return next(output[key] for key in OUTPUTS if output.get(key) is not None)


def main(models: Path, folder: Path, names: list[str]) -> None:
    tf.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    for name in names:
        model = load(str(models / name))[0]
        model.config.use_cache = False
        inputs = inputs_of(model)
        (folder / name).mkdir(parents=True)
        file = folder / name / "model.onnx"
        wrapped = OnlyOutput(model, list(inputs))
        torch.onnx.export(wrapped, tuple(inputs.values()), file, dynamo=False, opset_version=17)
        (folder / name / "config.json").write_bytes((models / name / "config.json").read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
