"""Says whether edited checkpoints are what LASER asks for, by doing every edit again in NumPy float64.

    python reference_edit.py <jobs.json> <verdicts.json>

A job is `{ name, family, input, output, edits: [{ layers: [..], type, rho }], logits }`, where `input` and `output` are
checkpoint folders. The verdicts, in the order of the jobs, are the fields of `Verdict`, or `{ name, failure }`. This
file judges nothing itself: it measures, and the tests hold the measures against their limits.

The table of names is written from LASER's own mapping and from the modelling code of `transformers`, and not from the
package under test. `weight` is understood after every name. `torch.nn.Linear` stores rows = outputs; the `Conv1D` of
GPT-2 stores columns = outputs.
"""

import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from safetensors import safe_open
from safetensors.torch import load_file, save_file

Config = dict[str, Any]
Tensors = dict[str, torch.Tensor]
# The rows (axis 0) or columns (axis 1) of a fused matrix that belong to one part of it.
Slice = tuple[int, np.ndarray]


@dataclass(frozen=True)
class Part:
    """One LASER type in one family: a stored matrix, or a slice of one."""

    tensor: str
    slice: Callable[[Config], Slice] | None = None


@dataclass(frozen=True)
class Family:
    """`prefix` with the layer put in, then a part's tensor, then `.weight`: the name in the file."""

    prefix: str
    attn: dict[str, Part]
    mlp: dict[str, Part]

    def parts(self, type_name: str) -> list[Part]:
        """The matrices a type stands for; the groups take every stored matrix once, fused ones whole."""
        groups = {"attn": [self.attn], "mlp": [self.mlp], "all": [self.attn, self.mlp]}
        if type_name in groups:
            stored = [part.tensor for group in groups[type_name] for part in group.values()]
            return [Part(tensor) for tensor in dict.fromkeys(stored)]
        return [(self.attn | self.mlp)[type_name]]


def _heads(config: Config) -> tuple[int, int, int]:
    """Query heads, key/value heads, width of a head."""
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // heads
    return heads, config.get("num_key_value_heads") or heads, width


def _gpt2_third(index: int) -> Callable[[Config], Slice]:
    """`c_attn(x).split(hidden, dim=2)`: columns q | k | v."""

    def pick(config: Config) -> Slice:
        hidden = config.get("n_embd") or config["hidden_size"]
        return 1, np.arange(index * hidden, (index + 1) * hidden)

    return pick


def _old_phi_third(index: int) -> Callable[[Config], Slice]:
    """`rearrange(qkv, "... (three h d) -> ... three h d")`: rows q | k | v."""

    def pick(config: Config) -> Slice:
        hidden = config["n_embd"]
        return 0, np.arange(index * hidden, (index + 1) * hidden)

    return pick


def _neox_third(index: int) -> Callable[[Config], Slice]:
    """`query_key_value(x).view(..., heads, 3 * d).chunk(3, dim=-1)`: within every head, rows q | k | v."""

    def pick(config: Config) -> Slice:
        heads, _, width = _heads(config)
        return 0, np.arange(3 * heads * width).reshape(heads, 3, width)[:, index].ravel()

    return pick


def _phi3_qkv(index: int) -> Callable[[Config], Slice]:
    """Rows q | k | v, where k and v have fewer heads."""

    def pick(config: Config) -> Slice:
        heads, shared_heads, width = _heads(config)
        sizes = [heads * width, shared_heads * width, shared_heads * width]
        start = sum(sizes[:index])
        return 0, np.arange(start, start + sizes[index])

    return pick


def _phi3_half(index: int) -> Callable[[Config], Slice]:
    """`gate, up = gate_up_proj(x).chunk(2, dim=-1)`: rows gate | up."""

    def pick(config: Config) -> Slice:
        inner = config["intermediate_size"]
        return 0, np.arange(index * inner, (index + 1) * inner)

    return pick


def _separate(q: str, k: str, v: str, out: str) -> dict[str, Part]:
    return {"q_proj": Part(q), "k_proj": Part(k), "v_proj": Part(v), "out_proj": Part(out)}


def _fused(qkv: str, third: Callable[[int], Callable[[Config], Slice]], out: str) -> dict[str, Part]:
    thirds = {name: Part(qkv, third(index)) for index, name in enumerate(["q_proj", "k_proj", "v_proj"])}
    return thirds | {"out_proj": Part(out)}


def _two_layers(fc_in: str, fc_out: str) -> dict[str, Part]:
    return {"fc_in": Part(fc_in), "fc_out": Part(fc_out)}


def _llama(prefix: str) -> Family:
    attn = _separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
    mlp = {"fc_in": Part("mlp.gate_proj"), "fc_up": Part("mlp.up_proj"), "fc_out": Part("mlp.down_proj")}
    return Family(prefix, attn, mlp)


def _gpt2(prefix: str) -> Family:
    return Family(prefix, _fused("attn.c_attn", _gpt2_third, "attn.c_proj"), _two_layers("mlp.c_fc", "mlp.c_proj"))


def _bert(prefix: str) -> Family:
    names = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    return Family(prefix, _separate(*names), _two_layers("intermediate.dense", "output.dense"))


FAMILIES: dict[str, Family] = {
    "gptj": Family(
        "transformer.h.{}.",
        _separate("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj"),
        _two_layers("mlp.fc_in", "mlp.fc_out"),
    ),
    "llama": _llama("model.layers.{}."),
    "mistral": _llama("model.layers.{}."),
    "qwen2": _llama("model.layers.{}."),
    "gemma": _llama("model.layers.{}."),
    "phi": Family(
        "model.layers.{}.",
        _separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.dense"),
        _two_layers("mlp.fc1", "mlp.fc2"),
    ),
    "oldphi": Family(
        "transformer.h.{}.",
        _fused("mixer.Wqkv", _old_phi_third, "mixer.out_proj"),
        _two_layers("mlp.fc1", "mlp.fc2"),
    ),
    "phi3": Family(
        "model.layers.{}.",
        _fused("self_attn.qkv_proj", _phi3_qkv, "self_attn.o_proj"),
        {
            "fc_in": Part("mlp.gate_up_proj", _phi3_half(0)),
            "fc_up": Part("mlp.gate_up_proj", _phi3_half(1)),
            "fc_out": Part("mlp.down_proj"),
        },
    ),
    "neox": Family(
        "gpt_neox.layers.{}.",
        _fused("attention.query_key_value", _neox_third, "attention.dense"),
        _two_layers("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    ),
    "opt": Family(
        "model.decoder.layers.{}.",
        _separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"),
        _two_layers("fc1", "fc2"),
    ),
    "gpt2": _gpt2("transformer.h.{}."),
    "gpt2base": _gpt2("h.{}."),
    "decision": _gpt2("encoder.h.{}."),
    "bert": _bert("bert.encoder.layer.{}."),
    "roberta": _bert("roberta.encoder.layer.{}."),
    "distilbert": Family(
        "distilbert.transformer.layer.{}.",
        _separate("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
        _two_layers("ffn.lin1", "ffn.lin2"),
    ),
}


@dataclass(frozen=True)
class Cut:
    """One truncation: which entries of which tensor, and to which rank."""

    tensor: str
    layer: int
    rank: int
    entries: tuple[np.ndarray, np.ndarray]


@dataclass
class Verdict:
    name: str
    # What the edit should have touched: [{ tensor, layer, rank }].
    edits: list[dict[str, Any]]
    # Tensors missing, added, or of another dtype or shape; safetensors or JSON files lost or changed.
    structure: list[str] = field(default_factory=list)
    # Tensors with a changed bit outside the entries that the edit covers.
    disturbed: list[str] = field(default_factory=list)
    # Tensors whose rank should have gone down, and in which the covered entries kept every bit.
    untouched: list[str] = field(default_factory=list)
    # Largest |ours - reference| / max|reference| over the edited tensors.
    error: float = 0.0
    # Entries of 16-bit tensors that are more than one unit in the last place off, and by more than float32 explains.
    far: int = 0
    # The largest share, over the edited tensors, of covered entries that differ from the reference at all.
    differing: float = 0.0
    # Smallest (s_k - s_k+1) / s_1 at the cuts: where it is tiny the reference itself is not determined.
    gap: float = 1.0
    # Keys that `transformers` misses or does not expect. None: the model was not loaded.
    loading: list[str] | None = None
    # Largest difference of logits: from the reference, and what the edit itself does to the model.
    logits_error: float | None = None
    logits_effect: float | None = None


def _read(folder: Path) -> Tensors:
    tensors: Tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


def _cuts(job: dict[str, Any], config: Config, tensors: Tensors) -> Iterator[Cut]:
    family = FAMILIES[job["family"]]
    for edit in job["edits"]:
        for layer in edit["layers"]:
            for part in family.parts(edit["type"]):
                name = f"{family.prefix.format(layer)}{part.tensor}.weight"
                entries = [np.arange(size) for size in tensors[name].shape]
                if part.slice is not None:
                    axis, entries[axis] = part.slice(config)
                # Floor on the decimal as it was written, so that 0.29 of 100 is 29.
                rank = int(Decimal(edit["rho"]) * min(len(entries[0]), len(entries[1])))
                yield Cut(name, layer, rank, (entries[0], entries[1]))


def _truncate(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, float]:
    """The best approximation of that rank (Eckart and Young 1936), and the relative gap behind its last value."""
    u, s, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    gap = (s[rank - 1] - s[rank]) / s[0] if 0 < rank < len(s) else 1.0
    return (u[:, :rank] * s[:rank]) @ vt[:rank], float(gap)


def _edit(tensors: Tensors, cuts: list[Cut]) -> tuple[Tensors, float]:
    """The edited tensors only, in the dtype they are stored in, and the smallest gap met."""
    edited: Tensors = {}
    smallest = 1.0
    for cut in cuts:
        tensor = edited.get(cut.tensor, tensors[cut.tensor])
        values = tensor.to(torch.float32).numpy().astype(np.float64)
        block, gap = _truncate(values[np.ix_(*cut.entries)], cut.rank)
        values[np.ix_(*cut.entries)] = block
        edited[cut.tensor] = torch.from_numpy(values).to(tensor.dtype)  # rounds to nearest, ties to even
        smallest = min(smallest, gap)
    return edited, smallest


def _bits(tensor: torch.Tensor) -> np.ndarray:
    widths = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(widths[tensor.element_size()]).numpy()


def _ordered(tensor: torch.Tensor) -> np.ndarray:
    """16-bit floats as integers whose difference is the distance in units in the last place."""
    bits = _bits(tensor).astype(np.int32)
    return np.where(bits < 0, -(bits & 0x7FFF), bits)


def _compare_structure(verdict: Verdict, job: dict[str, Any], before: Tensors, after: Tensors) -> None:
    described = [{name: f"{t.dtype} {tuple(t.shape)}" for name, t in side.items()} for side in (before, after)]
    for name in sorted(described[0].keys() | described[1].keys()):
        was, now = (side.get(name, "absent") for side in described)
        if was != now:
            verdict.structure.append(f"{name}: {was} became {now}")
    source, output = Path(job["input"]), Path(job["output"])
    # The same model in other formats (a .gguf, a .bin) is not the edit's concern.
    for file in sorted([*source.glob("*.safetensors"), *source.glob("*.json")]):
        copy = output / file.name
        if not copy.is_file():
            verdict.structure.append(f"{file.name}: not in the output")
        elif file.suffix == ".safetensors":
            with safe_open(file, "pt") as was, safe_open(copy, "pt") as now:
                kept = (was.metadata() or {}).items() <= (now.metadata() or {}).items()
                if not kept or set(was.keys()) != set(now.keys()):
                    verdict.structure.append(f"{file.name}: other metadata or other tensors")
        elif file.read_bytes() != copy.read_bytes():
            verdict.structure.append(f"{file.name}: other bytes")


def _compare_tensor(verdict: Verdict, ours: torch.Tensor, reference: torch.Tensor, covered: np.ndarray) -> None:
    mine, theirs = (t.to(torch.float32).numpy().astype(np.float64)[covered] for t in (ours, reference))
    distance, size = np.abs(mine - theirs), np.abs(theirs).max(initial=0.0)
    largest = float(distance.max(initial=0.0))
    if not np.isfinite(mine).all():
        largest = float("inf")
    error = largest / size if size > 0 else (0.0 if largest == 0 else float("inf"))
    verdict.error = max(verdict.error, min(error, 1e30))
    verdict.differing = max(verdict.differing, float(np.mean(distance > 0)))
    if ours.element_size() == 2:
        steps = np.abs(_ordered(ours) - _ordered(reference))[covered]
        verdict.far += int(np.sum((steps > 1) & (distance > 1e-5 * size)))


def _compare(verdict: Verdict, before: Tensors, after: Tensors, reference: Tensors, cuts: list[Cut]) -> None:
    reduced = {cut.tensor for cut in cuts if cut.rank < min(len(axis) for axis in cut.entries)}
    for name in sorted(before.keys() & after.keys()):
        if before[name].shape != after[name].shape or before[name].dtype != after[name].dtype:
            continue
        covered = np.zeros(before[name].shape, dtype=bool)
        for cut in cuts:
            if cut.tensor == name:
                covered[np.ix_(*cut.entries)] = True
        changed = _bits(before[name]) != _bits(after[name])
        if changed[~covered].any():
            verdict.disturbed.append(name)
        if name in reference:
            if name in reduced and not changed[covered].any():
                verdict.untouched.append(name)
            _compare_tensor(verdict, after[name], reference[name], covered)


def _load(folder: Path) -> tuple[tf.PreTrainedModel, list[str]]:
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, info = getattr(tf, architecture).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    return model.eval(), [str(key) for kind in info.values() for key in kind]


@torch.no_grad()
def _logits(model: tf.PreTrainedModel) -> np.ndarray:
    batch, length = 2, 12
    steps = torch.arange(batch * length).reshape(batch, length)
    if isinstance(model, tf.DecisionTransformerModel):
        config = model.config
        wave = torch.sin(steps.float() * 0.7)[..., None]
        output = model(
            states=wave * torch.linspace(-1, 1, config.state_dim),
            actions=wave.cos() * torch.linspace(-1, 1, config.act_dim),
            rewards=wave,
            returns_to_go=1 - wave,
            timesteps=torch.arange(length).repeat(batch, 1),
            attention_mask=torch.ones(batch, length),
            return_dict=True,
        )
        return torch.cat([output.state_preds, output.action_preds, output.return_preds], dim=-1).numpy()
    ids = 4 + (steps * 7) % (model.config.vocab_size - 4)  # 0 to 3 are special in some families
    output = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return (output.logits if "logits" in output else output.last_hidden_state).numpy()


def _compare_logits(
    verdict: Verdict, job: dict[str, Any], reference: Tensors, originals: dict[str, np.ndarray]
) -> None:
    source = Path(job["input"])
    if job["input"] not in originals:
        originals[job["input"]] = _logits(_load(source)[0])
    model, verdict.loading = _load(Path(job["output"]))
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "config.json").write_bytes((source / "config.json").read_bytes())
        save_file(_read(source) | reference, Path(scratch) / "model.safetensors", metadata={"format": "pt"})
        expected = _logits(_load(Path(scratch))[0])
    difference = np.abs(_logits(model) - expected).max()
    verdict.logits_error = float(difference) if np.isfinite(difference) else 1e30
    verdict.logits_effect = float(np.abs(expected - originals[job["input"]]).max())


def judge(job: dict[str, Any], originals: dict[str, np.ndarray]) -> Verdict:
    """`originals` keeps the logits of the unedited models from one job to the next."""
    before, after = _read(Path(job["input"])), _read(Path(job["output"]))
    config = json.loads((Path(job["input"]) / "config.json").read_text())
    cuts = list(_cuts(job, config, before))
    verdict = Verdict(job["name"], [{"tensor": c.tensor, "layer": c.layer, "rank": c.rank} for c in cuts])
    reference, verdict.gap = _edit(before, cuts)
    _compare_structure(verdict, job, before, after)
    _compare(verdict, before, after, reference, cuts)
    if job["logits"]:
        _compare_logits(verdict, job, reference, originals)
    return verdict


def main(jobs_file: str, verdicts_file: str) -> None:
    tf.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    originals: dict[str, np.ndarray] = {}
    verdicts: list[dict[str, Any]] = []
    for job in json.loads(Path(jobs_file).read_text()):
        try:
            verdicts.append(asdict(judge(job, originals)))
        except Exception:
            verdicts.append({"name": job["name"], "failure": traceback.format_exc()})
    Path(verdicts_file).write_text(json.dumps(verdicts, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
