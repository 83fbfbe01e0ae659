"""The interface between the engine and the arithmetic of a step: `Backend`.

The engine hands a `StepBatch` to a `Backend` and gets logits back. `TorchBackend`
(torch_backend.py) is the reference and runs anywhere; the native one packs weights and fuses
layers for CPUs with AVX-512. Which one serves is decided once, at load (backend_choice.py).

Doesn't know requests, schedules or samplers.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from inference.engine.backends.step_batch import LayerSpec, StepBatch
from inference.engine.device_speed import DeviceSpeed, measure_speed
from inference.engine.sampling.sampling_backend import SamplingBackend
from inference.engine.sampling.torch_sampler import TorchSampler

LoadModel = Callable[[Path, torch.dtype, torch.device], nn.Module]
"""Reads the weights of a model folder in that dtype onto that device."""


class LayerwiseForward(Protocol):
    """A forward pass that can be cut between layers, so that other steps run in between."""

    @property
    def num_layers(self) -> int:
        """How many layers there are to run."""

    def forward_layers(self, batch: StepBatch, begin: int, end: int) -> Tensor | None:
        """Run layers `begin` to `end` of a step. The batch carries what lies between two calls.

        Returns None before the last layer, then the logits as `Backend.forward` does.
        """


class Backend(abc.ABC):
    """Arithmetic for one model on one device. All calls come from the engine thread.

    Order of calls: `prepare` or `restore`, `allocate_cache`, then any number of `forward`.
    `allocate_cache` may be called again (other sizes); the old pages are forgotten. Block 0 is
    never given to a request: padding of a block table and of a batch points there.
    """

    name: str = ""  # for people: "torch float32 on cpu", "native amx int4"
    block_tokens: int = 16  # tokens per page; a multiple of what the kernels want
    step_tokens: int = 512  # prefill and decode tokens of one step, where nobody asks for others
    min_chunk: int = 16  # prompt tokens beside decodes: fewer would cost a step as much
    is_layered: bool = True  # transformers' own layers are called, each on its own
    notes: tuple[str, ...] = ()  # what was recognised, what was left as it was and why
    device: torch.device
    load_dtype: torch.dtype  # in which the engine loads the model before `prepare` sees it

    model: nn.Module
    layers: Sequence[LayerSpec]

    @abc.abstractmethod
    def prepare(self, model: nn.Module, layers: Sequence[LayerSpec]) -> nn.Module:
        """Take the loaded model and make it fast; returns the module to call from now on.

        May replace submodules in place (packed linears, fused layers), keeping what it can't
        improve. Sets `model`, `layers`, `name` and `notes`. Raises Unsupported with a reason for a
        person when it can't serve this model at all; the model must then be left as it was.
        """

    def restore(self, folder: Path) -> nn.Module | None:
        """Be as after `prepare` by what `keep` left in the model's folder; None if that can't be.

        Returns the model without its weights, which are the backend's then.
        """
        return None

    def keep(self, folder: Path) -> bool:
        """Leave what `prepare` made in the model's folder for later starts; False if it can't."""
        return False

    @abc.abstractmethod
    def allocate_cache(self, num_blocks: int) -> int:
        """Make zeroed pages for `num_blocks` blocks in every layer. Returns the bytes they take.

        Raises MemoryError (or torch.OutOfMemoryError) when they don't fit.
        """

    @abc.abstractmethod
    def cache_bytes_per_block(self) -> int:
        """Bytes of keys and values of all layers for one block; needs `prepare`."""

    @abc.abstractmethod
    def forward(self, batch: StepBatch) -> Tensor:
        """Run the model on one step. Returns logits (L, V) float32, on the model's device."""

    @abc.abstractmethod
    def clear_blocks(self, blocks: Sequence[int]) -> None:
        """Zero these blocks in every layer, so that a NaN in them reaches no later request."""

    def give_back(self, blocks: Sequence[int]) -> None:  # noqa: B027 - optional
        """Let the system have the memory of these blocks, which hold nothing, until they are used.

        Whatever they held is lost.
        """

    def warm_up(self, *, max_running: int, context_length: int) -> None:  # noqa: B027 - optional
        """Do ahead of the first request what would else be done in its step. Needs the pages."""

    def layerwise(self) -> LayerwiseForward | None:
        """The forward pass cut between layers; None where it runs only whole. Needs `prepare`."""
        return None

    def weight_bytes(self) -> int:
        """Bytes of weights that one decode step reads; packed sizes where packed."""
        return active_weight_bytes(self.model)

    def measure_speed(self) -> DeviceSpeed:
        """How fast what serves can read and multiply here, in a fraction of a second."""
        is_float32 = self.load_dtype is torch.float32
        return measure_speed(self.device, torch.float32 if is_float32 else torch.bfloat16)

    def sampling_backend(self) -> SamplingBackend:
        """What chooses tokens from this backend's logits."""
        return TorchSampler(self.device)


class Unsupported(ValueError):
    """This backend, or the engine, can't serve this model; the text says why, for a person."""


def active_weight_bytes(model: nn.Module) -> int:
    """Bytes of weights that a decode step reads: an embedding only if it is the head too."""
    total = 0
    seen: set[int] = set()
    embedding = getattr(model, "get_input_embeddings", lambda: None)()
    head = getattr(model, "get_output_embeddings", lambda: None)()
    tied = (
        embedding is not None
        and head is not None
        and getattr(head, "weight", None) is embedding.weight
    )
    skipped = id(embedding.weight) if embedding is not None and not tied else None
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    for tensor in tensors:
        if id(tensor) not in seen and id(tensor) != skipped:
            seen.add(id(tensor))
            total += tensor.numel() * tensor.element_size()
    return total
