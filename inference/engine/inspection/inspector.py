"""Shows one prefix inside the model: attention weights, logit lens, the next token's logits.

A job advances by a few tokens or one layer between two steps of the engine, so that it never holds
up a running batch by more than about a step. It has small pages of its own and the served model's
layers; where those are fused into one call, a second instance of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.engine.backends.attention import AttentionCall
from inference.engine.backends.reference_attention import attention_weights
from inference.engine.backends.step_batch import LayerSpec, StepBatch
from inference.engine.backends.torch_backend import TorchBackend

MAX_ATTENTION_BYTES = 256 << 20
MAX_LENS_POSITIONS = 64
CHUNK_BESIDE_OTHERS = 16
"""Tokens per turn while requests run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionRequest:
    """What to look at. Empty `layers` is none, empty `heads` all of them, negative counts from the
    end. The logit lens reads `lens_positions` after every layer and keeps the `lens_top` likeliest.
    """

    token_ids: tuple[int, ...]
    layers: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    lens_positions: tuple[int, ...] = (-1,)
    lens_top: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was seen.

    `attention[layer]` is float32 (heads, T, T): how much token i (row) looks at token j. A row sums
    to 1, or less where the model has attention sinks. `lens[layer][p]` are (token id, probability)
    pairs, likeliest first, as if the model ended after that layer. `next_logits` (V,) float32.
    """

    token_ids: tuple[int, ...]
    attention: dict[int, NDArray[np.float32]]
    heads: tuple[int, ...]
    lens: tuple[tuple[tuple[tuple[int, float], ...], ...], ...]
    lens_positions: tuple[int, ...]
    next_logits: NDArray[np.float32]


@dataclass(slots=True, eq=False)
class InspectionJob:
    """One inspection under way."""

    request: InspectionRequest
    future: Future[Inspection]
    is_checked: bool = False
    done: int = 0  # tokens that have passed through the model
    attention: dict[int, Tensor] = field(default_factory=dict)
    hidden: list[Tensor] = field(default_factory=list)  # per layer: (positions, width)
    lens: list[tuple[tuple[tuple[int, float], ...], ...]] = field(default_factory=list)
    logits: Tensor | None = None


class Inspector:
    """Runs inspections one after the other, piece by piece, in the engine thread."""

    def __init__(
        self, model: nn.Module, layers: Sequence[LayerSpec], *, max_tokens: int, vocab_size: int
    ) -> None:
        parameter = next(model.parameters())
        self._model = model
        self._specs = {spec.index: spec for spec in layers}
        self._max_tokens = max_tokens
        self._vocab_size = vocab_size
        self._backend = _AttentionTracer(
            dtype=str(parameter.dtype).removeprefix("torch."), device=parameter.device
        )
        self._backend.prepare(model, layers)
        self._ready = False

    def check(self, request: InspectionRequest) -> InspectionRequest:
        """The request with positions and layers counted from the start. Raises ValueError."""
        count, layers = len(request.token_ids), len(self._specs)
        heads = self._specs[0].query_heads
        if not 1 <= count <= self._max_tokens:
            raise ValueError(f"token_ids must have 1 to {self._max_tokens} entries, not {count}.")
        if not all(0 <= token < self._vocab_size for token in request.token_ids):
            raise ValueError(f"token_ids must lie between 0 and {self._vocab_size - 1}.")
        if not 1 <= request.lens_top <= 100:
            raise ValueError("lens_top must lie between 1 and 100.")
        if len(request.lens_positions) > MAX_LENS_POSITIONS:
            raise ValueError(f"lens_positions takes at most {MAX_LENS_POSITIONS} positions.")
        wanted = _from_start("layers", request.layers, layers)
        chosen = _from_start("heads", request.heads, heads) or tuple(range(heads))
        size = len(wanted) * len(chosen) * count * count * 4
        if size > MAX_ATTENTION_BYTES:
            raise ValueError(
                f"the attention of {len(wanted)} layers, {len(chosen)} heads and {count} tokens "
                f"takes {size >> 20} MB; at most {MAX_ATTENTION_BYTES >> 20} MB are given."
            )
        positions = _from_start("lens_positions", request.lens_positions, count)
        return InspectionRequest(
            token_ids=request.token_ids,
            layers=wanted,
            heads=chosen,
            lens_positions=positions,
            lens_top=request.lens_top,
        )

    def advance(self, job: InspectionJob, *, max_tokens: int) -> bool:
        """Do one piece of a job: a chunk of tokens, or the lens of one layer.

        True when the job's future has its result or its error.
        """
        try:
            if not job.is_checked:
                job.request, job.is_checked = self.check(job.request), True
            if job.done < len(job.request.token_ids):
                self._run_chunk(job, max_tokens)
                return False
            if len(job.lens) < len(job.hidden):
                job.lens.append(self._read_lens(job, job.hidden[len(job.lens)]))
                return False
            job.future.set_result(self._result(job))
        except Exception as error:
            job.future.set_exception(error)
        return True

    def _run_chunk(self, job: InspectionJob, max_tokens: int) -> None:
        if not self._ready:
            blocks = -(-self._max_tokens // self._backend.block_tokens)
            self._backend.allocate_cache(blocks)
            self._ready = True
        request, begin = job.request, job.done
        end = min(begin + max_tokens, len(request.token_ids))
        device = self._backend.device
        at = torch.arange(begin, end, device=device)
        size = self._backend.block_tokens
        batch = StepBatch(
            token_ids=torch.tensor(request.token_ids[begin:end], device=device),
            positions=at,
            slots=at,
            rows=torch.zeros_like(at),
            block_table=torch.arange(-(-end // size), dtype=torch.int32, device=device)[None],
            logits_at=torch.tensor([end - begin - 1], device=device),
            query_starts=[0, end - begin],
            context_lens=[end],
        )
        self._backend.job = job
        hooks = [
            layer.register_forward_hook(_keep_hidden(job, n, begin, end))
            for n, layer in enumerate(decoder_layers(self._model))
        ]
        try:
            job.logits = self._backend.forward(batch)[0]
        finally:
            self._backend.job = None
            for hook in hooks:
                hook.remove()
        job.done = end

    def _read_lens(self, job: InspectionJob, hidden: Tensor) -> Any:
        """Final norm and head on a layer's hidden states: the likeliest tokens of each position."""
        model: Any = self._model
        norm = getattr(model.get_decoder(), "norm", None) or nn.Identity()
        logits = model.get_output_embeddings()(norm(hidden[None]))[0].float()
        probabilities, ids = logits.softmax(dim=-1).topk(job.request.lens_top, dim=-1)
        return tuple(
            tuple(zip(row_ids, row, strict=True))
            for row_ids, row in zip(ids.tolist(), probabilities.tolist(), strict=True)
        )

    def _result(self, job: InspectionJob) -> Inspection:
        assert job.logits is not None
        return Inspection(
            token_ids=job.request.token_ids,
            attention={layer: w.float().cpu().numpy() for layer, w in job.attention.items()},
            heads=job.request.heads,
            lens=tuple(job.lens),
            lens_positions=job.request.lens_positions,
            next_logits=job.logits.float().cpu().numpy(),
        )


class _AttentionTracer(TorchBackend):
    """The reference backend, noting the attention weights that its job wants."""

    job: InspectionJob | None = None

    def attend(self, call: AttentionCall, batch: StepBatch) -> Tensor:
        out = super().attend(call, batch)
        job = self.job
        if job is not None and call.layer in job.request.layers:
            total = len(job.request.token_ids)
            heads = list(job.request.heads)
            if call.layer not in job.attention:
                job.attention[call.layer] = torch.zeros(len(heads), total, total)
            weights = attention_weights(call, self._keys[call.layer], batch.positions)
            begin, end = job.done, job.done + call.query.shape[0]
            job.attention[call.layer][:, begin:end, :end] = weights[heads].cpu()
        return out


def decoder_layers(model: Any) -> Sequence[nn.Module]:
    """The model's list of decoder layers, by transformers' own names for it."""
    decoder = model.get_decoder()
    for name in ("layers", "h", "blocks"):
        found = getattr(decoder, name, None)
        if isinstance(found, nn.ModuleList):
            return list(found)
    raise ValueError("the layers of this model can't be found; it can't be inspected.")


def _keep_hidden(job: InspectionJob, layer: int, begin: int, end: int) -> Any:
    """A hook that keeps the layer's output at the wanted positions of this chunk."""
    wanted = [p for p in job.request.lens_positions if begin <= p < end]

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if layer == len(job.hidden):
            width = hidden.shape[-1]
            places = len(job.request.lens_positions)
            job.hidden.append(torch.zeros(places, width, dtype=hidden.dtype, device=hidden.device))
        for p in wanted:
            job.hidden[layer][job.request.lens_positions.index(p)] = hidden[0, p - begin]

    return keep


def _from_start(name: str, values: Sequence[int], count: int) -> tuple[int, ...]:
    for value in values:
        if not -count <= value < count:
            raise ValueError(f"{name} must lie between {-count} and {count - 1}, not {value}.")
    return tuple(dict.fromkeys(value % count for value in values))
