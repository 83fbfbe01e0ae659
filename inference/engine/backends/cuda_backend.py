"""The backend for NVIDIA GPUs: paged flash attention, and decode steps replayed as CUDA graphs.

Graphs are captured at load (captured_decode.py), one per bucket of rows; a batch is padded to the
next bucket. Prefill steps run eagerly. What a device or a torch release lacks is found by trying
it, and the reason is kept in `notes`.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inference.engine.backends.attention import AttentionCall
from inference.engine.backends.captured_decode import CapturedDecode
from inference.engine.backends.fused_norms import fuse_norms
from inference.engine.backends.int8_linear import find_kernel, quantize_linears
from inference.engine.backends.reference_attention import attend_sequence
from inference.engine.backends.step_batch import LayerSpec, StepBatch
from inference.engine.backends.torch_backend import TorchBackend
from inference.engine.device import to_device

log = logging.getLogger(__name__)

BUCKETS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
PAGE_TOKENS = (16, 32, 64, 128, 256)
"""Page sizes to try, smallest first: small pages reuse more, some flash kernels want 256."""
GATHERED_CONTEXTS = (256, 1024, 4096)
"""Context lengths to capture without paged attention: such a step reads up to that, used or not."""
GATHERED_TOKENS = 1 << 17
"""Rows times context of such a step at most; its keys and values are copied."""


class CudaBackend(TorchBackend):
    """TorchBackend with a faster attention and captured decode steps, where the device has them.

    INT8 is of the weights alone; all else is BF16 then.
    """

    # A step with prefill is launched kernel by kernel, which takes as long for 16 tokens as for
    # 512: small chunks would spare the decodes nothing.
    step_tokens = 2048
    min_chunk = 512

    def __init__(self, *, dtype: str, device: torch.device) -> None:
        self._is_int8 = dtype == "int8"
        super().__init__(dtype="bfloat16" if self._is_int8 else dtype, device=device)
        self.name = f"cuda {dtype}"
        self._flash: Callable[..., Any] | None = None
        self._decodes: dict[tuple[int, int], CapturedDecode] = {}  # by rows and context length

    # --- loading --------------------------------------------------------------------------------

    def prepare(self, model: nn.Module, layers: Sequence[LayerSpec]) -> nn.Module:
        """See Backend. Chooses page size and attention by trying them on this device."""
        super().prepare(model, layers)
        self.notes = ()
        if self.dtype is not torch.float32:
            fused, left = fuse_norms(model)
            self.notes += (f"fused {fused} of {fused + left} norms",)
        if self._is_int8:
            kernel, why = find_kernel(self.device, self.dtype)
            count = quantize_linears(model, multiply_few=kernel)
            self.notes += (f"{count} linears in int8{f', widened each time: {why}' * bool(why)}",)
        why = self._why_not_flash(layers)
        if why:
            self.notes += (f"attention by SDPA over gathered pages: {why}",)
        else:
            self.name += ", paged flash attention"
        return model

    def warm_up(self, *, max_running: int, context_length: int) -> None:
        """Capture the decode step for each bucket up to `max_running`; needs the pages."""
        self._decodes.clear()
        if self.device.type != "cuda":
            return
        sizes = decode_sizes(max_running, context_length, is_paged=self._flash is not None)
        pool = torch.cuda.graph_pool_handle()
        try:
            for size in sizes:  # the largest first: others fit its memory
                decode = CapturedDecode(self, *size)
                decode.capture(pool)
                self._decodes[size] = decode
        except Exception as error:
            log.exception("decode steps can't be captured")
            self._decodes.clear()
            torch.cuda.synchronize(self.device)
            self.notes += (f"no CUDA graphs: {error}",)
        else:
            self.name += ", cuda graphs"

    def _why_not_flash(self, layers: Sequence[LayerSpec]) -> str:
        """Find a paged attention and a page size that agree with the reference; or why not."""
        if self.device.type != "cuda":
            return "not on a GPU"
        if self.dtype is torch.float32:
            return "flash kernels take half precision"
        for spec in layers:
            if spec.softcap or spec.has_sinks:
                return "soft caps and sinks are unknown to it"
            if spec.key_dim != spec.value_dim or spec.key_dim > 256:
                return "keys and values must have one width of at most 256"
        try:
            from torch.nn.attention.varlen import varlen_attn
        except ImportError:
            return "this torch has no varlen_attn"
        if "block_table" not in inspect.signature(varlen_attn).parameters:
            return "this torch's varlen_attn knows no pages"
        reason = "no page size was accepted"
        for tokens in PAGE_TOKENS:
            try:
                error = _flash_error(varlen_attn, layers[0], tokens, self.dtype, self.device)
            except Exception as failure:  # a kernel raises on sizes that it doesn't take
                reason = str(failure).splitlines()[0]
                continue
            if error < 0.02:
                self._flash, self.block_tokens = varlen_attn, tokens
                return ""
            reason = f"it is {error:.1%} off the reference"
        return reason

    # --- steps ----------------------------------------------------------------------------------

    def forward(self, batch: StepBatch) -> Tensor:
        """See Backend. Replays a captured step where only decodes run."""
        rows = len(batch.context_lens)
        if batch.is_decode_only and len(batch.logits_at) == rows:
            longest = max(batch.context_lens)
            fits = [size for size in self._decodes if size[0] >= rows and size[1] >= longest]
            if fits:
                return self._decodes[min(fits, key=math.prod)].run(batch)
        return super().forward(batch)

    def attend(self, call: AttentionCall, batch: StepBatch) -> Tensor:
        """See Attention. Paged flash attention where it agrees, else as TorchBackend."""
        if self._flash is None:
            return super().attend(call, batch)
        keys, values = self._keys[call.layer], self._values[call.layer]
        keys.index_copy_(0, batch.slots, call.key)
        values.index_copy_(0, batch.slots, call.value)
        starts, used, longest = self._lengths(batch)
        pages = (-1, self.block_tokens, *keys.shape[1:])
        out: Tensor = self._flash(
            call.query.contiguous(),
            keys.view(pages),
            values.view(pages),
            starts,
            None,
            longest,
            batch.block_table.shape[1] * self.block_tokens,
            scale=call.scale,
            window_size=(call.window - 1 if call.window else -1, 0),
            enable_gqa=call.query.shape[1] != call.key.shape[1],
            seqused_k=used,
            block_table=batch.block_table,
            num_splits=1,  # one order of sums, whatever else is in the batch
        )
        return out

    def _lengths(self, batch: StepBatch) -> tuple[Tensor, Tensor, int]:
        """Query starts (R + 1) and context lengths (R) int32 on the device, and the longest query.

        Put there once per step; a captured step brings its own.
        """
        if batch.cache.lengths is None:
            starts = batch.query_starts
            batch.cache.lengths = (
                to_device(starts, torch.int32, self.device),
                to_device(batch.context_lens, torch.int32, self.device),
                max(b - a for a, b in itertools.pairwise(starts)),
            )
        return batch.cache.lengths


def decode_sizes(max_running: int, context_length: int, *, is_paged: bool) -> list[tuple[int, int]]:
    """Rows and context lengths of the decode steps to capture, the largest first.

    Paged attention reads what is used of the longest context; gathering reads all of it.
    """
    rows = [size for size in BUCKETS if size < max_running]
    rows.append(next((size for size in BUCKETS if size >= max_running), BUCKETS[-1]))
    if is_paged:
        return [(n, context_length) for n in reversed(rows)]
    contexts = sorted({min(length, context_length) for length in GATHERED_CONTEXTS}, reverse=True)
    sizes = [(n, length) for length in contexts for n in rows if n * length <= GATHERED_TOKENS]
    return sorted(sizes, key=math.prod, reverse=True)


def _flash_error(
    flash: Callable[..., Any],
    spec: LayerSpec,
    page_tokens: int,
    dtype: torch.dtype,
    device: torch.device,
) -> float:
    """Relative error of paged flash attention on one small sequence, against the reference."""
    length = 40
    make = torch.Generator(device="cpu").manual_seed(0)
    query, key, value = (
        torch.randn(length, heads, spec.key_dim, generator=make).to(device, dtype)
        for heads in (spec.query_heads, spec.kv_heads, spec.kv_heads)
    )
    blocks = -(-length // page_tokens)
    shape = (blocks * page_tokens, spec.kv_heads, spec.key_dim)
    pages = torch.zeros(2, *shape, dtype=dtype, device=device)
    pages[0, :length], pages[1, :length] = key, value
    table = torch.arange(blocks, dtype=torch.int32, device=device)[None]
    out = flash(
        query,
        pages[0].view(blocks, page_tokens, *shape[1:]),
        pages[1].view(blocks, page_tokens, *shape[1:]),
        torch.tensor([0, length], dtype=torch.int32, device=device),
        None,
        length,
        blocks * page_tokens,
        scale=spec.scale,
        window_size=(-1, 0),
        enable_gqa=spec.query_heads != spec.kv_heads,
        seqused_k=torch.tensor([length], dtype=torch.int32, device=device),
        block_table=table,
        num_splits=1,
    )
    call = AttentionCall(spec.index, query, key, value, scale=spec.scale)
    expected = attend_sequence(call).float()
    return float((out.float() - expected).norm() / expected.norm())
