"""Says what llama.cpp's converter calls the matrices of models, by the table of the `gguf` package.

    python family_gguf.py <modules.json> <architectures.json>

`modules.json` is that of `family_models.py`, `architectures.json` the GGUF architecture of each model. Prints the name
in GGUF, without `.weight`, of each tensor of each model.
"""

import json
import re
import sys
from pathlib import Path

import gguf


def main(modules_file: str, architectures_file: str) -> None:
    tables = json.loads(Path(modules_file).read_text())
    archs = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    found: dict[str, dict[str, str | None]] = {}
    for model, architecture in json.loads(Path(architectures_file).read_text()).items():
        names = gguf.get_tensor_name_map(archs[architecture], 8)
        found[model] = {}
        for module in tables[model]["modules"]:
            # The converter stacks the experts of a layer, and strips the prefix of some models.
            tensor = re.sub(r"\.experts\.\d+\.", ".experts.", module["tensor"])
            known = (names.get_name(key, (".weight",)) for key in (tensor, tensor.removeprefix("model.")))
            found[model][module["tensor"]] = next((name.removesuffix(".weight") for name in known if name), None)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
