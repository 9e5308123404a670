"""Says what an edit that sets one matrix to zero did to a model that `transformers` loads.

    python family_judge.py <jobs.json> <verdicts.json>

A job is `{ name, model, input, output, type, layer }`: a row of `family_models.py`, the folders before and after, and
what was edited. The verdicts are the fields of `Verdict`, or `{ name, failure }`. The tests judge them.

What a type is for is read off the forward pass: q, k and v where the attention takes them, `gate` where an activation
function takes its input. A matrix of zeros makes its own one zero and leaves the others of its layer alone, so the
slices of a fused tensor are held against how the model itself splits it.
"""

import json
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import transformers as tf
from family_models import ROWS, depths_of, layer_of

# What a model returns, the best first.
OUTPUTS = ("logits", "logits_per_image", "last_hidden_state")

Signals = dict[str, list[torch.Tensor]]
Record = Callable[[torch.nn.Module, str, torch.Tensor], None]


@dataclass
class Verdict:
    name: str
    # What `transformers` missed, or did not expect.
    loading: list[str]
    # The parameters in which a number changed, and how many did.
    changed: list[str]
    count: int
    # Changed numbers that are not zero now.
    nonzero: int
    # What became zero in the layer, what in part, and what else changed, of all that was seen: q, k, v, gate, ...
    zeroed: list[str]
    partly: list[str]
    disturbed: list[str]
    seen: list[str]
    # The largest difference of the outputs.
    effect: float


def _code(model: tf.PreTrainedModel) -> Any:
    return sys.modules[type(model).__module__]


@contextmanager
def _patched(target: Any, name: str, around: Callable[..., Any]) -> Iterator[None]:
    """Runs `around(original, *args)` in place of a function."""
    original = getattr(target, name)

    def replacement(*args: Any, **options: Any) -> Any:
        return around(original, *args, **options)

    with mock.patch.object(target, name, replacement):
        yield


def _record_all(record: Record, module: torch.nn.Module, parts: Any) -> None:
    for kind, value in zip("qkv", parts, strict=True):
        record(module, kind, value)


def _spies(model: tf.PreTrainedModel, record: Record) -> Iterator[Any]:
    """Records what attention and activation functions get, wherever the model's code has them."""
    code = _code(model)

    def eager(original: Any, module: Any, query: Any, key: Any, value: Any, *rest: Any, **options: Any) -> Any:
        _record_all(record, module, (query, key, value))
        return original(module, query, key, value, *rest, **options)

    def splitting(original: Any, module: Any, fused: Any) -> Any:
        parts = original(module, fused)
        _record_all(record, module, parts)
        return parts

    def chunked(original: Any, module: Any, x: Any) -> Any:
        result = original(module, x)
        if x.shape[-1] == 3 * module.all_head_size:
            _record_all(record, module, result.chunk(3, dim=-1))
        return result

    def attending(original: Any, module: Any, query: Any, key: Any, value: Any, *rest: Any) -> Any:
        _record_all(record, module, (query, key, value))
        return original(module, query, key, value, *rest)

    def gating(original: Any, module: Any, gate_up: Any) -> Any:
        gate, up = gate_up[..., ::2], gate_up[..., 1::2]
        record(module, "gate", gate)
        record(module, "up", up)
        return original(module, gate_up)

    if hasattr(code, "eager_attention_forward"):
        yield _patched(code, "eager_attention_forward", eager)
    if hasattr(code, "BloomAttention"):
        yield _patched(code.BloomAttention, "_reshape", splitting)
    if hasattr(code, "FalconAttention"):
        yield _patched(code.FalconAttention, "_split_heads", splitting)
    if hasattr(code, "GPTNeoSelfAttention"):
        yield _patched(code.GPTNeoSelfAttention, "_attn", attending)
    if hasattr(code, "GptOssExperts"):
        yield _patched(code.GptOssExperts, "_apply_gate", gating)
    if model.config.model_type == "deberta":
        yield _patched(code.DisentangledSelfAttention, "transpose_for_scores", chunked)


# Where no function takes q, k and v, the names of the modules have to do.
_NAMES = {"query_proj": "q", "key_proj": "k", "value_proj": "v"}
_BY_NAME = {"mpnet": {"q": "q", "k": "k", "v": "v"}, "deberta-v2": _NAMES}


def _is_activation(module: torch.nn.Module) -> bool:
    kind = type(module)
    modules = ("transformers.activations", "nn.modules.activation")
    return kind.__module__.endswith(modules) or kind.__name__ == "BloomGelu"


@torch.no_grad()
def _signals(name: str, model: tf.PreTrainedModel, layer: int) -> tuple[Signals, torch.Tensor]:
    """What the functions of one layer got, and the output of the model."""
    stacks = ROWS[name].stacks
    depths = depths_of(model, stacks)
    paths = {id(module): path for path, module in model.named_modules()}
    signals: Signals = defaultdict(list)

    def record(module: torch.nn.Module, kind: str, value: torch.Tensor) -> None:
        path = paths[id(module)]
        if layer_of(f"{path}.", stacks, depths) != layer:
            return
        cross = "cross_" if "encoder_attn" in path or "EncDecAttention" in path else ""
        shared = "shared_" if "shared_expert" in path else ""
        own = signals[cross + shared + kind]
        # What is computed again depends on what came before.
        if not (ROWS[name].repeats and own):
            own.append(value.clone())

    hooks = []
    by_name = _BY_NAME.get(model.config.model_type, {})
    for path, module in model.named_modules():
        own = by_name.get(path.split(".")[-1])
        if own is not None:
            hooks.append(module.register_forward_hook(lambda m, _, out, own=own: record(m, own, out)))
        if _is_activation(module):
            hooks.append(module.register_forward_pre_hook(lambda m, inputs: record(m, "gate", inputs[0])))
    with ExitStack() as stack:
        for spy in _spies(model, record):
            stack.enter_context(spy)
        output = model(**inputs_of(model))
    for hook in hooks:
        hook.remove()
    found = next(output[key] for key in OUTPUTS if output.get(key) is not None)
    return signals, found


def inputs_of(model: tf.PreTrainedModel) -> dict[str, torch.Tensor]:
    ids = (4 + 7 * torch.arange(12).reshape(2, 6)) % 40 + 4
    image = torch.sin(torch.arange(2 * 3 * 16 * 16).reshape(2, 3, 16, 16).float())
    kind = model.config.model_type
    if kind in ("vit", "deit"):
        return {"pixel_values": image}
    if kind in ("clip", "siglip"):
        return {"input_ids": ids, "pixel_values": image}
    if kind == "whisper":
        waves = torch.sin(torch.arange(2 * 8 * 12).reshape(2, 8, 12).float())
        return {"input_features": waves, "decoder_input_ids": ids}
    if model.config.is_encoder_decoder:
        return {"input_ids": ids, "decoder_input_ids": ids.flip(-1)}
    return {"input_ids": ids}


def load(folder: str) -> tuple[tf.PreTrainedModel, list[str]]:
    architecture = json.loads((Path(folder) / "config.json").read_text())["architectures"][0]
    kind = getattr(tf, architecture)
    options = {"experts_implementation": "eager"} if kind._can_set_experts_implementation() else {}
    model, info = kind.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **options
    )
    return model.eval(), [str(key) for kind in info.values() for key in kind]


def _judge(job: dict[str, Any], originals: dict[str, tf.PreTrainedModel]) -> Verdict:
    name, layer = job["model"], job["layer"]
    if name not in originals:
        originals[name] = load(job["input"])[0]
    before = originals[name]
    after, loading = load(job["output"])
    changed, count, nonzero = [], 0, 0
    own = dict(after.named_parameters())
    for key, parameter in before.named_parameters():
        differs = parameter != own[key]
        if differs.any():
            changed.append(key)
            count += int(differs.sum())
            nonzero += int((own[key][differs] != 0).sum())
    (was, output), (now, edited) = (_signals(name, model, layer) for model in (before, after))
    zeroed, partly, disturbed = [], [], []
    for kind, values in was.items():
        # Other tokens may go to other experts.
        if [value.shape for value in values] != [value.shape for value in now[kind]]:
            disturbed.append(kind)
            continue
        pairs = list(zip(values, now[kind], strict=True))
        if all(torch.equal(a, b) for a, b in pairs):
            continue
        if all((b == 0).all() for _, b in pairs):
            zeroed.append(kind)
        elif all(((b == 0) | (a == b)).all() for a, b in pairs):
            partly.append(kind)
        else:
            disturbed.append(kind)
    effect = float((output - edited).abs().max())
    return Verdict(
        job["name"], loading, changed, count, nonzero, zeroed, partly, disturbed, sorted(was.keys()), effect
    )


def main(jobs_file: str, verdicts_file: str) -> None:
    tf.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    originals: dict[str, tf.PreTrainedModel] = {}
    verdicts: list[dict[str, Any]] = []
    for job in json.loads(Path(jobs_file).read_text()):
        try:
            verdicts.append(asdict(_judge(job, originals)))
        except Exception:
            verdicts.append({"name": job["name"], "failure": traceback.format_exc()})
    Path(verdicts_file).write_text(json.dumps(verdicts, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
