"""Loads a checkpoint whose linear layers are low-rank factors into transformers.

    from lowrank_loader import load

    model = load("path/to/folder")

`lowrank compress` of the npm package lowrank has written this file beside the weights. It needs torch, transformers and
safetensors. `lowrank expand` makes an ordinary checkpoint for every other program.

config.json names the modules whose weights are factors, and their ranks, under the key `lowrank`. In place of the weight
of such a module, of n inputs and m outputs, the files have, for rank k,

    <module>.lowrank.left    [n, k]
    <module>.lowrank.right   [k, m]
    y = (x left) right + bias

or, with the storage `pivoted`, right as [k, m - k] and

    <module>.lowrank.order   [m], I32

so that the m columns of [identity, right], taken in this order, are the right factor.
"""

import copy
import functools
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

VERSION = 1


class LowRankLinear(torch.nn.Module):
    """A linear layer of two factors, in place of a `torch.nn.Linear` or a `Conv1D`."""

    def __init__(self, dense, rank):
        super().__init__()
        self.is_conv1d = isinstance(dense, Conv1D)
        rows, columns = dense.weight.shape
        self.in_features, self.out_features = (rows, columns) if self.is_conv1d else (columns, rows)
        self.lowrank = torch.nn.Module()
        self.lowrank.left = torch.nn.Parameter(dense.weight.new_empty(self.in_features, rank))
        self.lowrank.right = torch.nn.Parameter(dense.weight.new_empty(rank, self.out_features))
        self.register_parameter("bias", dense.bias)

    def forward(self, x):
        y = x @ self.lowrank.left @ self.lowrank.right
        return y if self.bias is None else y + self.bias

    @property
    def weight(self):
        """The product, as the layer that was replaced had it. For code that looks at weights; slow."""
        product = self.lowrank.left @ self.lowrank.right
        return product if self.is_conv1d else product.T

    def extra_repr(self):
        rank = self.lowrank.left.shape[1]
        return f"in_features={self.in_features}, out_features={self.out_features}, rank={rank}"


def load(folder, model_class=None, **options):
    """Returns the model in `folder`, in evaluation mode.

    Its class is that of config.json unless `model_class` is given. The options are those of `from_pretrained`. The type
    of the numbers is that of the files unless `dtype` says otherwise. A layer whose factors would cost more than its
    weight is multiplied out, and so is one that this version of transformers has no module for.
    """
    folder = Path(folder)
    stored = _stored(folder)
    options.setdefault("dtype", "auto")
    config = options.pop("config", None) or transformers.AutoConfig.from_pretrained(
        folder, trust_remote_code=options.get("trust_remote_code")
    )
    model_class = model_class or _class_of(config)
    module_of = _linear_modules(model_class, config)
    state = _tensors(folder)
    ranks = {}
    for name, rank in stored["layers"].items():
        left, right = _factors(state, name, rank, stored["storage"])
        module = module_of(name)
        sizes = left.shape[0], right.shape[1]
        if module is None or rank * sum(sizes) >= sizes[0] * sizes[1]:
            product = left.float() @ right.float()
            turned = product if name in stored.get("transposed", []) else product.T
            state[f"{name}.weight"] = turned.to(left.dtype).contiguous()
        else:
            state[f"{module}.lowrank.left"], state[f"{module}.lowrank.right"] = left, right
            ranks[module] = rank
    model = _with_factors(model_class, ranks).from_pretrained(None, config=config, state_dict=state, **options)
    model.__class__ = model_class
    # What `save_pretrained` writes can be loaded again.
    turned = [name for name in ranks if model.get_submodule(name).is_conv1d]
    model.config.lowrank = {"version": VERSION, "storage": "factors", "layers": ranks, "transposed": turned}
    if model.can_generate() and (folder / "generation_config.json").exists():
        model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
    return model


def _stored(folder):
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("lowrank")
    if stored is None:
        raise ValueError(f"{folder}: config.json names no low-rank layers; load it with from_pretrained")
    if stored["version"] > VERSION:
        raise ValueError(f"{folder}: version {stored['version']} of the key lowrank; this program knows {VERSION}")
    return stored


def _class_of(config):
    for name in config.architectures or []:
        if hasattr(transformers, name):
            return getattr(transformers, name)
    raise ValueError(f"config.json names no class of transformers ({config.architectures}): pass model_class")


def _tensors(folder):
    """All tensors of the folder, found as transformers finds them."""
    files = [folder / "model.safetensors"]
    if not files[0].exists():
        indexes = sorted(folder.glob("*.safetensors.index.json"))
        if indexes:
            names = json.loads(indexes[0].read_text(encoding="utf-8"))["weight_map"].values()
            files = [folder / name for name in sorted(set(names))]
        else:
            files = sorted(folder.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def _factors(state, name, rank, storage):
    """Takes the factors of a layer out of the tensors: [n, k] and [k, m]."""
    try:
        left, right = state.pop(f"{name}.lowrank.left"), state.pop(f"{name}.lowrank.right")
        order = state.pop(f"{name}.lowrank.order") if storage == "pivoted" else None
    except KeyError as missing:
        raise ValueError(f"config.json names {name}, but there is no tensor {missing}") from None
    if left.shape[1] != rank or right.shape[0] != rank:
        raise ValueError(f"{name}: factors {list(left.shape)} and {list(right.shape)} are not of rank {rank}")
    if order is not None:
        right = torch.cat([torch.eye(rank, dtype=right.dtype), right], dim=1)[:, order]
    return left, right


def _linear_modules(model_class, config):
    """Returns what finds the path of a linear module in the model by its name in the files; None if there is none.

    Files may lack the name of the base model in front, or have it where the model does not. Models with a decoder inside
    have had `language_model.model.` for `model.language_model.`: words in another order are the same module.
    """
    with torch.device("meta"):
        skeleton = model_class(copy.deepcopy(config))
    linear = (name for name, module in skeleton.named_modules() if isinstance(module, (torch.nn.Linear, Conv1D)))
    by_words = {tuple(sorted(name.split("."))): name for name in linear}

    def module_of(name):
        names = [name, f"{model_class.base_model_prefix}.{name}", name.partition(".")[2]]
        return next(filter(None, (by_words.get(tuple(sorted(each.split(".")))) for each in names)), None)

    return module_of


def _with_factors(model_class, ranks):
    """The class with modules of factors in place of some linear ones, to be filled by `from_pretrained`."""

    class WithFactors(model_class):
        @functools.wraps(model_class.__init__)
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            for name, rank in ranks.items():
                parent, _, last = name.rpartition(".")
                setattr(self.get_submodule(parent), last, LowRankLinear(self.get_submodule(name), rank))

    WithFactors.__name__, WithFactors.__qualname__ = model_class.__name__, model_class.__qualname__
    WithFactors.__module__ = model_class.__module__
    return WithFactors
