"""BF16 on a CPU without the native kernels: linears prepacked by oneDNN, attention by torch.

Serves BF16 on CPUs that multiply it but can't build or run the kernels. Its sums may depend on the
batch; against the native path it agrees within the rounding of BF16 (tested).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inference.engine.backends.base import Unsupported
from inference.engine.backends.step_batch import LayerSpec
from inference.engine.backends.torch_backend import TorchBackend


class PrepackedLinear(nn.Module):
    """An nn.Linear whose weight lies in oneDNN's own order, so that no call has to reorder it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
        self._bias = None if linear.bias is None else linear.bias.detach()
        self.weight_bytes = weight.numel() * weight.element_size()

    def forward(self, x: Tensor) -> Tensor:
        """x (..., inputs) → (..., outputs), both bfloat16."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, self._bias, "none", [], ""
        )
        return out


class OneDnnBackend(TorchBackend):
    """TorchBackend with prepacked BF16 linears. `reason` says why the kernels don't serve."""

    def __init__(self, *, reason: str) -> None:
        mkldnn = torch.ops.mkldnn
        if not torch.backends.mkldnn.is_available() or not mkldnn._is_mkldnn_bf16_supported():
            raise Unsupported("this torch multiplies no BF16 through oneDNN.")
        super().__init__(dtype="bfloat16", device=torch.device("cpu"))
        self.name = "onednn bfloat16"
        self.notes = (reason,)

    def prepare(self, model: nn.Module, layers: Sequence[LayerSpec]) -> nn.Module:
        """See Backend. Replaces every plain Linear by a prepacked one."""
        super().prepare(model, layers)
        self._linear_bytes = 0
        packed = 0
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear:
                    linear = PrepackedLinear(child)
                    setattr(parent, name, linear)
                    self._linear_bytes += linear.weight_bytes
                    packed += 1
        self.notes += (f"prepacked {packed} linears",)
        return model

    def weight_bytes(self) -> int:
        """See Backend. Of the prepacked linears alone."""
        return self._linear_bytes
