"""A model as the kernels run it, whole steps in one call: packed matrices, norms and numbers.

Made of the loaded model once (fusion.py recognises it, native_backend.py checks it), or taken from
the file that an earlier start has left (packed_file.py). Both give the same bits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from inference.engine.backends.step_batch import CosSin, LayerSpec
from inference.engine.native.layer_parts import LayerParts
from inference.engine.native.packed_file import (
    PackedFile,
    PackedWriter,
    Unusable,
    packed_key,
    packed_path,
)
from inference.engine.native.packing import Packer

MATRICES = ("qkv", "out", "gate_up", "down")


@dataclass(slots=True)
class PreparedLayer:
    """One decoder layer. `matrices` by MATRICES, each a `Packed` of the kernels."""

    spec: LayerSpec
    matrices: dict[str, Any]
    norms: dict[str, tuple[Tensor, float]]
    gate: int
    residual_scale: float
    uses_rope: bool
    sinks: Tensor | None
    cos_sin: CosSin | None = None  # what rotates the first positions, as the model gave it

    @classmethod
    def of_parts(
        cls, parts: LayerParts, spec: LayerSpec, sinks: Tensor | None, *, dtype: str, packer: Packer
    ) -> PreparedLayer:
        """Pack a layer's parts in `dtype`."""
        return cls(
            spec=spec,
            matrices={
                "qkv": packer.pack(parts.qkv, dtype, bias=parts.qkv_bias),
                "out": packer.pack([parts.out.weight], dtype, bias=parts.out.bias),
                "gate_up": packer.pack(parts.gate_up, dtype, bias=parts.gate_up_bias),
                "down": packer.pack([parts.down.weight], dtype, bias=parts.down.bias),
            },
            norms=parts.norms,
            gate=parts.gate,
            residual_scale=parts.residual_scale,
            uses_rope=parts.uses_rope,
            sinks=sinks,
        )

    def add_to(self, decoder: Any) -> None:
        """Make this the next layer of a native Decoder."""
        decoder.add_layer(
            **self.matrices,
            norms=self.norms,
            query_heads=self.spec.query_heads,
            kv_heads=self.spec.kv_heads,
            dim=self.spec.key_dim,
            gate=self.gate,
            residual_scale=self.residual_scale,
            scale=self.spec.scale,
            window=self.spec.window,
            softcap=self.spec.softcap,
            sinks=self.sinks,
        )


@dataclass(slots=True)
class PreparedEnds:
    """What comes before and behind the layers. Logits are the head's, times `logits_scale`."""

    embedding: Tensor
    scale: float  # of the embedding's rows
    norm: Tensor
    epsilon: float
    head: Any  # Packed
    logits_scale: float

    def add_to(self, decoder: Any) -> None:
        """Have a native Decoder run whole steps."""
        decoder.set_ends(self.embedding, self.scale, self.norm, self.epsilon, self.head)


@dataclass(slots=True)
class PreparedModel:
    """All of a model whose steps are one call."""

    layers: list[PreparedLayer]
    ends: PreparedEnds
    notes: list[str] = field(default_factory=list)


# --- to a file and back --------------------------------------------------------------------------


def write(model: PreparedModel, folder: Path, dtype: str) -> None:
    """Leave the model beside its weights for later starts. Raises Unusable, BadWeights."""
    matrices = [m for layer in model.layers for m in layer.matrices.values()] + [model.ends.head]
    needed = sum(int(m.nbytes) for m in matrices) + model.ends.embedding.nbytes
    with PackedWriter(packed_path(folder, dtype), needed=needed) as file:
        data = [file.add(m.data) for m in matrices]
        file.end_matrices()
        places = iter(
            {
                "data": at,
                "format": m.format,
                "outputs": m.outputs,
                "inputs": m.inputs,
                "bias": None if m.bias is None else file.add(m.bias),
            }
            for at, m in zip(data, matrices, strict=True)
        )
        ropes: dict[int, list[Any]] = {}
        layers = []
        for layer in model.layers:
            if layer.cos_sin is not None and id(layer.cos_sin[0]) not in ropes:
                ropes[id(layer.cos_sin[0])] = [file.add(each) for each in layer.cos_sin]
            layers.append(
                {
                    "spec": asdict(layer.spec),
                    "matrices": {name: next(places) for name in MATRICES},
                    "norms": {
                        name: [file.add(weight), epsilon]
                        for name, (weight, epsilon) in layer.norms.items()
                    },
                    "gate": layer.gate,
                    "residual_scale": layer.residual_scale,
                    "uses_rope": layer.uses_rope,
                    "sinks": None if layer.sinks is None else file.add(layer.sinks),
                    "rope": None
                    if layer.cos_sin is None
                    else list(ropes).index(id(layer.cos_sin[0])),
                }
            )
        ends = model.ends
        content = {
            "layers": layers,
            "ropes": list(ropes.values()),
            "ends": {
                "head": next(places),
                "embedding": file.add(_smallest(ends.embedding)),
                "scale": ends.scale,
                "norm": file.add(ends.norm),
                "epsilon": ends.epsilon,
                "logits_scale": ends.logits_scale,
            },
            "notes": model.notes,
        }
        file.finish(packed_key(folder, dtype), content)


def read(folder: Path, dtype: str, kernels: ModuleType) -> tuple[PreparedModel, str]:
    """The model that `write` left, and how it lies in memory. Raises Unusable, BadWeights."""
    try:
        file = PackedFile(packed_path(folder, dtype), packed_key(folder, dtype))
        content = file.content

        def matrix(place: dict[str, Any]) -> Any:
            bias = place["bias"]
            return kernels.Packed(
                data=file.tensor(place["data"]),
                format=place["format"],
                outputs=place["outputs"],
                inputs=place["inputs"],
                bias=None if bias is None else file.tensor(bias),
            )

        ropes = [(file.tensor(cos), file.tensor(sin)) for cos, sin in content["ropes"]]
        layers = [
            PreparedLayer(
                spec=LayerSpec(**each["spec"]),
                matrices={name: matrix(each["matrices"][name]) for name in MATRICES},
                norms={
                    name: (file.tensor(weight), epsilon)
                    for name, (weight, epsilon) in each["norms"].items()
                },
                gate=each["gate"],
                residual_scale=each["residual_scale"],
                uses_rope=each["uses_rope"],
                sinks=None if each["sinks"] is None else file.tensor(each["sinks"]),
                cos_sin=None if each["rope"] is None else ropes[each["rope"]],
            )
            for each in content["layers"]
        ]
        ends = content["ends"]
        return (
            PreparedModel(
                layers,
                PreparedEnds(
                    embedding=file.tensor(ends["embedding"]),
                    scale=ends["scale"],
                    norm=file.tensor(ends["norm"]),
                    epsilon=ends["epsilon"],
                    head=matrix(ends["head"]),
                    logits_scale=ends["logits_scale"],
                ),
                list(content["notes"]),
            ),
            file.way,
        )
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise Unusable(f"its packed weights can't be read: {error}") from error


def skeleton(folder: Path) -> nn.Module:
    """transformers' module of this model without any weights: its configuration and its shape."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return model.eval()


def rotary_of(model: nn.Module) -> nn.Module | None:
    """A skeleton's rotary module, made anew with its numbers. Raises Unusable."""
    base = getattr(model, str(model.base_model_prefix), None)
    module: Any = getattr(base, "rotary_emb", None)
    if module is None:
        return None
    try:
        made: nn.Module = type(module)(config=module.config)
    except (TypeError, AttributeError) as error:
        raise Unusable(f"its rotary module can't be made alone: {error}") from error
    return made


def _smallest(table: Tensor) -> Tensor:
    """The table in 16 bits if that loses nothing, as with weights that had no more all along."""
    for dtype in (torch.bfloat16, torch.float16):
        half = table.to(dtype)
        if torch.equal(half.to(table.dtype), table):
            return half
    return table
