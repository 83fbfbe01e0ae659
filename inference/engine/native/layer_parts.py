"""Takes a decoder layer of transformers' apart, finding its parts by their attribute names.

What a name promises is checked where that is cheap: widths, activation, norms. Whether the parts
together give what the layer gives is found out on numbers (fusion.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn

from inference.engine.backends.step_batch import LayerSpec

SILU, GELU_TANH = 0, 1


class NotRecognised(Exception):
    """This layer isn't of the shape the kernels know; the text says what is missing."""


@dataclass(slots=True)
class LayerParts:
    """A decoder layer taken apart. Matrices as in nn.Linear, norms with their final weights."""

    qkv: list[Tensor]
    qkv_bias: Tensor | None
    out: nn.Linear
    gate_up: list[Tensor]
    gate_up_bias: Tensor | None
    down: nn.Linear
    gate: int
    norms: dict[str, tuple[Tensor, float]]
    residual_scale: float
    uses_rope: bool


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The list of the model's decoder layers. Raises NotRecognised."""
    base = getattr(model, getattr(model, "base_model_prefix", "model"), None)
    layers = getattr(base, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise NotRecognised("the model keeps its layers in no list named layers")
    return layers


def extract_parts(layer: nn.Module, spec: LayerSpec, kernels: ModuleType) -> LayerParts:
    """Find the parts of a decoder layer. Raises NotRecognised naming what doesn't fit."""
    attention, mlp = _part(layer, "self_attn"), _part(layer, "mlp")
    qkv = _linears(attention, ("q_proj", "k_proj", "v_proj"), "qkv_proj")
    out = _linears(attention, ("o_proj",), "o_proj")[0]
    gate_up = _linears(mlp, ("gate_proj", "up_proj"), "gate_up_proj")
    down = _linears(mlp, ("down_proj",), "down_proj")[0]
    heads = (spec.query_heads + 2 * spec.kv_heads) * spec.key_dim
    if sum(linear.out_features for linear in qkv) != heads:
        raise NotRecognised("queries, keys and values don't fit the heads")
    if down.in_features % 32 or out.in_features % 32 or qkv[0].in_features % 32:
        raise NotRecognised("widths are not multiples of 32")
    return LayerParts(
        qkv=[linear.weight for linear in qkv],
        qkv_bias=_bias(qkv),
        out=out,
        gate_up=[linear.weight for linear in gate_up],
        gate_up_bias=_bias(gate_up),
        down=down,
        gate=_gate(mlp),
        norms=_norms(layer, attention, spec, kernels),
        residual_scale=float(getattr(layer, "residual_multiplier", 1.0)),
        uses_rope=bool(getattr(attention, "use_rope", True)),
    )


def _part(module: nn.Module, name: str) -> nn.Module:
    part = getattr(module, name, None)
    if not isinstance(part, nn.Module):
        raise NotRecognised(f"{type(module).__name__} has no {name}")
    return part


def _linears(module: nn.Module, names: Sequence[str], joint: str) -> list[nn.Linear]:
    """The Linears of these names, or the one that holds them all."""
    found = [getattr(module, name, None) for name in names]
    if not all(type(linear) is nn.Linear for linear in found):
        found = [getattr(module, joint, None)]
    if type(found[0]) is not nn.Linear:
        wanted = " or ".join((*names, joint))
        raise NotRecognised(f"{type(module).__name__} has no Linear {wanted}")
    return found  # type: ignore[return-value]


def _bias(linears: Sequence[nn.Linear]) -> Tensor | None:
    if all(linear.bias is None for linear in linears):
        return None
    return torch.cat(
        [
            torch.zeros(linear.out_features) if linear.bias is None else linear.bias.float()
            for linear in linears
        ]
    )


def _gate(mlp: nn.Module) -> int:
    function = getattr(mlp, "act_fn", None) or getattr(mlp, "activation_fn", None)
    if function is None:
        raise NotRecognised(f"{type(mlp).__name__} has no act_fn")
    at = torch.linspace(-4, 4, 33)
    known = (nn.functional.silu(at), nn.functional.gelu(at, approximate="tanh"))
    for gate, values in zip((SILU, GELU_TANH), known, strict=True):
        if torch.allclose(function(at), values, atol=1e-5):
            return gate
    raise NotRecognised("the MLP's activation is neither SiLU nor tanh-GELU")


def _norms(
    layer: nn.Module, attention: nn.Module, spec: LayerSpec, kernels: ModuleType
) -> dict[str, tuple[Tensor, float]]:
    has_four = getattr(layer, "pre_feedforward_layernorm", None) is not None
    names = {"before_attention": getattr(layer, "input_layernorm", None)}
    if has_four:
        names["after_attention"] = getattr(layer, "post_attention_layernorm", None)
        names["before_mlp"] = getattr(layer, "pre_feedforward_layernorm", None)
        names["after_mlp"] = getattr(layer, "post_feedforward_layernorm", None)
    else:
        names["before_mlp"] = getattr(layer, "post_attention_layernorm", None)
    names["query"] = getattr(attention, "q_norm", None)
    names["key"] = getattr(attention, "k_norm", None)
    for name in ("before_attention", "before_mlp"):
        if names[name] is None:
            raise NotRecognised(f"there is no norm {name.replace('_', ' ')}")
    norms = {name: rms_norm_of(norm, kernels) for name, norm in names.items() if norm is not None}
    for name in ("query", "key"):
        if name in norms and norms[name][0].numel() != spec.key_dim:
            raise NotRecognised(f"the {name} norm spans several heads")
    return norms


def rms_norm_of(norm: nn.Module, kernels: ModuleType) -> tuple[Tensor, float]:
    """A norm's final weight and epsilon, if it is an RMS norm by w or 1 + w; else NotRecognised."""
    weight = getattr(norm, "weight", None)
    epsilon = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    if not isinstance(weight, Tensor) or epsilon is None or weight.numel() % 32:
        raise NotRecognised(f"{type(norm).__name__} is no RMS norm over a multiple of 32")
    x = torch.randn(3, weight.numel(), generator=torch.Generator().manual_seed(0))
    expected = norm(x)
    for shift in (0.0, 1.0):
        final = (weight.detach().float() + shift).contiguous()
        if torch.allclose(kernels.rms_norm(x, final, epsilon), expected, rtol=1e-3, atol=1e-4):
            return final, float(epsilon)
    raise NotRecognised(f"{type(norm).__name__} computes something else than an RMS norm")
