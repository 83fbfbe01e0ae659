"""The face behind which the arithmetic of a step lives: linears, attention, pages.

The engine hands a `StepBatch` to a `Backend` and gets logits back. `TorchBackend`
(torch_backend.py) is the reference and runs anywhere; the native one packs weights and fuses
layers for CPUs with AVX-512. Which one serves is decided once, at load, by `choose_backend`.

Doesn't know requests, schedules or samplers.
"""

from __future__ import annotations

import abc
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inference.engine.sampling.torch_sampler import Draws, TorchDraws

ATTENTION_NAME = "chatsite_paged"
"""The name under which our attention function is registered with transformers."""


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """What one attention layer keeps per token, as seen when the model was probed.

    `index` is transformers' `layer_idx`; `window` 0 means that every earlier token is seen.
    """

    index: int
    query_heads: int
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int = 0
    scale: float = 1.0
    softcap: float = 0.0
    has_sinks: bool = False


@dataclass(slots=True)
class StepBatch:
    """One step's tokens as one row of T, from R sequences, asking for the logits of L of them.

    Tokens of a sequence lie together and in order, sequences in the order of `block_table`'s rows;
    prefill chunks and decodes mix. A sequence's keys and values up to `context_lens[r]` lie in the
    blocks of its row once this step has written `slots`.
    """

    token_ids: Tensor  # (T,) int64
    positions: Tensor  # (T,) int64, place in the sequence, from 0
    slots: Tensor  # (T,) int64, block * block_tokens + offset: where this token's K and V go
    rows: Tensor  # (T,) int64, which of the R sequences a token belongs to
    block_table: Tensor  # (R, B) int32, padded with 0
    logits_at: Tensor  # (L,) int64, indices into T
    query_starts: Sequence[int]  # R + 1 host integers: tokens of sequence r are [r] to [r + 1]
    context_lens: Sequence[int]  # R host integers: tokens in the pages after this step
    scratch: dict[Any, Any]  # what a backend computes once per step for all layers (masks, ropes)

    @property
    def is_decode_only(self) -> bool:
        """Whether each sequence brings exactly one token."""
        return self.token_ids.shape[0] == len(self.context_lens)


class Backend(abc.ABC):
    """Arithmetic for one model on one device. All calls come from the engine thread.

    Order of calls: `prepare`, `allocate_cache`, then any number of `forward`. `allocate_cache` may
    be called again (other sizes); the old pages are forgotten. Block 0 is never given to a request:
    padding of a block table and of a batch points there.
    """

    name: str = ""  # for people: "torch float32 on cpu", "native amx int4"
    block_tokens: int = 16  # tokens per page; a multiple of what the kernels want
    is_layered: bool = True  # transformers' own layers are called, and each calls `attend`
    is_batch_invariant: bool = False  # a row's logits don't depend on what else is in the batch
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

    @abc.abstractmethod
    def allocate_cache(self, num_blocks: int) -> int:
        """Make zeroed pages for `num_blocks` blocks in every layer. Returns the bytes they take.

        Raises MemoryError (or torch.OutOfMemoryError) when they don't fit.
        """

    @abc.abstractmethod
    def cache_bytes_per_block(self) -> int:
        """Bytes of keys and values of all layers for one block; needs `prepare`."""

    @abc.abstractmethod
    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        batch: StepBatch,
        *,
        scale: float,
        window: int,
        softcap: float,
        sinks: Tensor | None,
    ) -> Tensor:
        """Write this step's keys and values into their slots, then attend over the pages.

        query (T, heads, key_dim), key (T, kv_heads, key_dim), value (T, kv_heads, value_dim), all
        after rope → (T, heads, value_dim), same dtype. A token sees positions up to its own, and
        with `window` w > 0 only the last w of those. `softcap` 0 is none. `sinks` (heads,) are
        extra logits that take part in the softmax and add nothing.
        """

    @abc.abstractmethod
    def clear_blocks(self, blocks: Sequence[int]) -> None:
        """Zero these blocks in every layer, so that a NaN in them reaches no later request."""

    def warm_up(self, *, max_running: int, context_length: int) -> None:  # noqa: B027 - optional
        """Do ahead of the first request what would else be done in its step. Needs the pages."""

    def weight_bytes(self) -> int:
        """Bytes of weights that one decode step reads; packed sizes where packed."""
        return active_weight_bytes(self.model)

    def forward(self, batch: StepBatch) -> Tensor:
        """Run the model on one step. Returns logits (L, V) float32, on the model's device."""
        with serving(self, batch):
            out = self.model(
                input_ids=batch.token_ids[None],
                position_ids=batch.positions[None],
                use_cache=False,
                logits_to_keep=batch.logits_at,
            )
        logits: Tensor = out.logits[0]
        return logits.float()

    @property
    def num_slices(self) -> int:
        """How many layers a step may be cut between; 0: it runs as a whole. Needs `prepare`."""
        return 0

    def forward_slice(self, batch: StepBatch, begin: int, end: int) -> Tensor | None:
        """Run layers `begin` to `end` of a step; other steps may run between its slices.

        The last slice returns the logits, as `forward` does. The batch carries what lies between.
        """
        raise NotImplementedError

    def draws(self) -> Draws:
        """How tokens are chosen from this backend's logits."""
        return TorchDraws(self.device)


class Unsupported(ValueError):
    """This backend, or the engine, can't serve this model; the text says why, for a person."""


class _Current(threading.local):
    """The step being run by this thread.

    The attention function finds it here instead of in keyword arguments, because not every model
    passes unknown keywords through to its attention.
    """

    step: tuple[Backend, StepBatch] | None = None


_current = _Current()


def current_step() -> tuple[Backend, StepBatch]:
    """What `serving` made current in this thread; for attention functions and fused layers."""
    if _current.step is None:
        raise RuntimeError("the model was called outside a step of the engine")
    return _current.step


@contextmanager
def serving(backend: Backend, batch: StepBatch) -> Iterator[None]:
    """Make `batch` the step that the registered attention function works on."""
    before, _current.step = _current.step, (backend, batch)
    try:
        yield
    finally:
        _current.step = before


def paged_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_ignored: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface over our pages.

    query (1, heads, T, dim), key and value (1, kv_heads, T, dim) → (1, T, heads, dim). There is
    never a mask: no mask function is registered under our name, so transformers builds none.
    """
    backend, batch = current_step()
    out = backend.attend(
        int(module.layer_idx),  # type: ignore[arg-type]
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        batch,
        scale=query.shape[-1] ** -0.5 if scaling is None else float(scaling),
        window=int(sliding_window or 0),
        softcap=float(softcap or 0.0),
        sinks=s_aux,
    )
    return out[None], None


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


def choose_backend(name: str, *, dtype: str, device: torch.device) -> Backend:
    """The backend that serves `dtype` on `device`.

    `name` "torch" or "native" forces one. "auto": on a CPU the native kernels where the machine has
    their instructions and a compiler for the first start, else BF16 through oneDNN, else torch; on
    CUDA the CUDA backend.
    float32 on a CPU is served by torch, whose results equal transformers' own.
    Raises Unsupported when a forced backend can't run here.
    """
    from inference.engine.backends.torch_backend import TorchBackend

    if device.type == "cuda" and name in ("auto", "cuda"):
        from inference.engine.backends.cuda_backend import CudaBackend

        cuda: Backend = CudaBackend(dtype=dtype, device=device)
        return cuda
    if name == "native" or (name == "auto" and device.type == "cpu" and dtype != "float32"):
        try:
            from inference.engine.native import NativeBackend
        except ImportError as error:
            if name == "native":
                raise Unsupported(f"the native kernels are not installed: {error}") from error
        else:
            try:
                native: Backend = NativeBackend(dtype=dtype)
                return native
            except Unsupported as error:
                if name == "native":
                    raise
                if dtype == "bfloat16":
                    return _without_kernels(str(error))
    return TorchBackend(dtype=dtype, device=device)


def _without_kernels(reason: str) -> Backend:
    """BF16 on a CPU where the native kernels don't run."""
    from inference.engine.backends.onednn_backend import OneDnnBackend
    from inference.engine.backends.torch_backend import TorchBackend

    try:
        onednn: Backend = OneDnnBackend(reason=reason)
        return onednn
    except Unsupported:
        return TorchBackend(dtype="bfloat16", device=torch.device("cpu"))
