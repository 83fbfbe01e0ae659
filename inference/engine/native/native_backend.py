"""The native backend: packed weights, fused layers and paged attention in C++, behind Backend.

Serves any model whose attention the kernels can do. Where every layer is recognised, the layers run
as one call; where embedding, last norm and head are what they seem, the whole step does. All
else stays transformers' own code over packed linears and our attention.

Sums have one order whatever the batch: a row's logits are the same bits alone and among others,
decoded and prefilled, in one chunk and in many.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.engine import memory
from inference.engine.backends.attention import AttentionCall, current_batch, run_model
from inference.engine.backends.base import Backend, LayerwiseForward, Unsupported
from inference.engine.backends.step_batch import CosSin, LayerSpec, StepBatch
from inference.engine.device_speed import DeviceSpeed
from inference.engine.native import packed_file, prepared
from inference.engine.native.build import KernelsUnavailable, load_kernels
from inference.engine.native.calibration import CalibrationRun, LayerCalibration, run_calibration
from inference.engine.native.fusion import TOLERANCE, contribution_error
from inference.engine.native.layer_parts import (
    LayerParts,
    NotRecognised,
    decoder_layers,
    extract_parts,
    rms_norm_of,
)
from inference.engine.native.native_sampler import NativeSampler
from inference.engine.native.packing import (
    FORMATS,
    PackedLinear,
    Packer,
    can_pack,
    head_format,
    pack_linears,
)
from inference.engine.native.prepared import PreparedEnds, PreparedLayer, PreparedModel
from inference.engine.native.rope import RopeTables, half_table
from inference.engine.sampling.sampling_backend import SamplingBackend

log = logging.getLogger(__name__)

READ_BYTES = 128 << 20
"""To measure reading: more than caches hold."""
BLOCK_TOKENS = 32
"""Tokens of a page: two tiles of keys, 4 KiB for a head of 64."""


class NativeBackend(Backend):
    """Serves every dtype of the kernels on every instruction set they are built for (isa.py).

    Raises Unsupported.
    """

    block_tokens = BLOCK_TOKENS
    is_layered = False
    load_dtype = torch.float32  # weights lose once, when they are packed
    device = torch.device("cpu")

    _decoder: Any  # the kernels' Decoder, or None
    _ropes: RopeTables | None
    _logits_scale: float | None  # None: transformers runs the ends of the model

    def __init__(self, *, dtype: str) -> None:
        if dtype not in FORMATS:
            raise Unsupported(f"the native kernels serve {', '.join(FORMATS)}, not {dtype}.")
        try:
            self.kernels = load_kernels()
        except KernelsUnavailable as error:
            raise Unsupported(f"no native kernels: {error}.") from error
        self.dtype = dtype
        self.name = f"native {'amx' if self.kernels.use_matrix() else self.kernels.ISA} {dtype}"

    # --- loading --------------------------------------------------------------------------------

    def prepare(self, model: nn.Module, layers: Sequence[LayerSpec]) -> nn.Module:
        for spec in layers:
            if spec.key_dim != spec.value_dim or spec.key_dim % 32 or spec.key_dim > 512:
                raise Unsupported(
                    "the native attention needs keys and values of one width, a multiple of 32 up "
                    f"to 512, and layer {spec.index} has {spec.key_dim} and {spec.value_dim}."
                )
        self._begin(model, layers)
        self._packer = Packer(self.kernels)
        notes = []
        try:
            run = self._fuse(model)
            notes.append(f"fused {len(layers)} of {len(layers)} layers")
            notes.append(self._fuse_embedding_and_head(model, run))
        except NotRecognised as reason:
            self._decoder = None
            notes.append(f"fused 0 of {len(layers)} layers: {reason}")
        packed, left = pack_linears(self._packer, model, self.dtype)
        if packed:
            notes.append(f"packed {packed} linears of their own")
        if left:
            notes.append(f"left {left} linears as they were")
        self.notes = tuple(notes)
        return model

    def _begin(self, model: nn.Module, layers: Sequence[LayerSpec]) -> None:
        self.model, self.layers = model, list(layers)
        self._pages: list[tuple[Tensor, Tensor]] = []
        self._packed: list[Any] = []
        self._decoder, self._ropes, self._logits_scale = None, None, None
        self._prepared: list[PreparedLayer] = []
        self._ends: PreparedEnds | None = None

    def restore(self, folder: Path) -> nn.Module | None:
        """See Backend. Of what `keep` wrote when an earlier start had prepared the same model."""
        if packed_file.way() == "off":
            return None
        try:
            found, way = prepared.read(folder, self.dtype, self.kernels)
            model = prepared.skeleton(folder)
            ropes = RopeTables(prepared.rotary_of(model), [layer.cos_sin for layer in found.layers])
        except (packed_file.Unusable, LookupError, OSError, ValueError) as reason:
            log.info("not started from packed weights: %s", reason)
            return None
        self._begin(model, [layer.spec for layer in found.layers])
        self._ropes = ropes
        self._width = int(found.ends.norm.numel())
        self._decoder = self.kernels.Decoder(self._width)
        for layer in found.layers:
            layer.add_to(self._decoder)
            self._packed += layer.matrices.values()
        self._set_ends(found.ends)
        self.notes = (*found.notes, f"weights packed by an earlier start: {way}")
        return model

    def keep(self, folder: Path) -> bool:
        """See Backend. Only of a model whose whole steps the kernels run."""
        if packed_file.way() == "off" or not self._is_one_call or self._ends is None:
            return False
        try:
            prepared.write(
                PreparedModel(self._prepared, self._ends, list(self.notes)), folder, self.dtype
            )
        except (packed_file.Unusable, ValueError) as reason:
            self.notes += (f"the next start packs again: {reason}",)
            return False
        return True

    def _fuse(self, model: nn.Module) -> CalibrationRun:
        """Rebuild all layers and put them in place. Raises NotRecognised, the model intact."""
        modules = decoder_layers(model)
        if len(modules) != len(self.layers):
            raise NotRecognised("not every layer attends")
        parts = [
            extract_parts(module, spec, self.kernels)
            for module, spec in zip(modules, self.layers, strict=True)
        ]
        run = run_calibration(model, self.layers)
        width = run.layers[0].hidden.shape[-1]
        for index, (part, seen) in enumerate(zip(parts, run.layers, strict=True)):
            self._verify_layer(index, part, seen)
        try:
            base = getattr(model, str(model.base_model_prefix))
            self._ropes = RopeTables(
                getattr(base, "rotary_emb", None),
                [
                    seen.cos_sin if part.uses_rope else None
                    for part, seen in zip(parts, run.layers, strict=True)
                ],
            )
        except LookupError:
            self._ropes = None
        self._uses_rope = [part.uses_rope for part in parts]
        self._width = width
        self._decoder = self.kernels.Decoder(width)
        for index, (part, seen) in enumerate(zip(parts, run.layers, strict=True)):
            sinks = self._sinks(modules[index])
            layer = PreparedLayer.of_parts(
                part, self.layers[index], sinks, dtype=self.dtype, packer=self._packer
            )
            layer.cos_sin = seen.cos_sin if part.uses_rope else None
            layer.add_to(self._decoder)
            self._packed += layer.matrices.values()
            self._prepared.append(layer)
            modules[index] = FusedLayer(
                modules[index], self, is_last=index == len(parts) - 1
            )  # and its weights go
        return run

    def _verify_layer(self, index: int, parts: LayerParts, seen: LayerCalibration) -> None:
        single = self.kernels.Decoder(seen.hidden.shape[-1])
        spec = self.layers[index]
        sinks = self._sinks(decoder_layers(self.model)[index])
        PreparedLayer.of_parts(
            parts, spec, sinks, dtype="bfloat16", packer=Packer(self.kernels)
        ).add_to(single)
        error = contribution_error(single, seen, uses_rope=parts.uses_rope)
        if not error <= TOLERANCE:
            raise NotRecognised(f"layer {index} gives something else, {error:.1%} off")

    def _sinks(self, module: nn.Module) -> Tensor | None:
        sinks = getattr(getattr(module, "self_attn", None), "sinks", None)
        return None if sinks is None else sinks.detach().float().contiguous()

    def _fuse_embedding_and_head(self, model: nn.Module, run: CalibrationRun) -> str:
        """Take embedding, last norm and head into the call, if that gives the same logits."""
        try:
            if self._ropes is None:
                raise NotRecognised("its rope has no table by position")
            embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
            head: Any = model.get_output_embeddings()  # type: ignore[operator]
            if not isinstance(embedding, nn.Embedding) or not can_pack(head):
                raise NotRecognised("its embedding or head is of another kind")
            base = getattr(model, str(model.base_model_prefix))
            norm, epsilon = rms_norm_of(base.norm, self.kernels)
            table = embedding.weight.detach()
            begin, rows = run.layers[0].hidden[0], table[run.token_ids]
            scale = float((begin * rows).sum() / (rows * rows).sum())
            if (begin - scale * rows).norm() > 1e-3 * begin.norm():
                raise NotRecognised("its residual stream does not begin with the embedding")
            packed = self._packer.pack([head.weight], head_format(self.dtype), bias=head.bias)
            # Only what comes after the layers is compared: their own loss would hide an error.
            final = self.kernels.rms_norm(run.layers[-1].output[0], norm, epsilon)
            logits = final @ head.weight.T if head.bias is None else head(final)
            factor = float((logits * run.logits).sum() / (logits * logits).sum())
            if (run.logits - factor * logits).norm() > 1e-3 * run.logits.norm():
                raise NotRecognised("something follows its head")
        except (NotRecognised, AttributeError) as reason:
            return f"transformers runs embedding and head: {reason}"
        model.set_output_embeddings(PackedLinear(self.kernels, packed))  # type: ignore[operator]
        self._set_ends(PreparedEnds(table, scale, norm, epsilon, packed, factor))
        return "the whole step is one call"

    def _set_ends(self, ends: PreparedEnds) -> None:
        ends.add_to(self._decoder)
        self._ends = ends
        self._packed.append(ends.head)
        self._logits_scale = ends.logits_scale

    # --- pages ----------------------------------------------------------------------------------

    def cache_bytes_per_block(self) -> int:
        per_token = sum(2 * spec.kv_heads * spec.key_dim for spec in self.layers)
        return per_token * self.block_tokens * torch.bfloat16.itemsize

    def allocate_cache(self, num_blocks: int) -> int:
        self._pages.clear()
        arena = self.kernels.Arena()  # zeroed, and only what is written to takes memory
        for spec in self.layers:
            shape = (num_blocks, spec.kv_heads, self.block_tokens * spec.key_dim)
            size = math.prod(shape) * torch.bfloat16.itemsize
            keys, values = (arena.bytes(size).view(torch.bfloat16).view(shape) for _ in range(2))
            self._pages.append((keys, values))
            if self._decoder is not None:
                self._decoder.set_pages(spec.index, keys, values, self.block_tokens)
        return num_blocks * self.cache_bytes_per_block()

    def clear_blocks(self, blocks: Sequence[int]) -> None:
        at = torch.tensor(list(blocks), dtype=torch.int64)
        for keys, values in self._pages:
            keys[at] = 0
            values[at] = 0

    def give_back(self, blocks: Sequence[int]) -> None:
        """See Backend."""
        for begin, end in memory.runs(blocks):
            for pages in self._pages:
                for side in pages:
                    memory.give_back(side[begin:end])

    # --- steps ----------------------------------------------------------------------------------

    def forward(self, batch: StepBatch) -> Tensor:
        if not self._is_one_call:
            return run_model(self.model, self, batch)
        logits = self._run(batch, None, 0, self.num_layers)
        assert logits is not None
        return logits

    @property
    def _is_one_call(self) -> bool:
        """Whether the kernels run a whole step, embedding and head included."""
        return self._logits_scale is not None and self._ropes is not None

    def layerwise(self) -> LayerwiseForward | None:
        """See Backend. Only where the kernels run whole steps."""
        return self if self._is_one_call else None

    @property
    def num_layers(self) -> int:
        """See LayerwiseForward."""
        return len(self.layers)

    def forward_layers(self, batch: StepBatch, begin: int, end: int) -> Tensor | None:
        """See LayerwiseForward."""
        if batch.cache.hidden is None:
            batch.cache.hidden = torch.empty(len(batch.token_ids), self._width)
        return self._run(batch, batch.cache.hidden, begin, end)

    def _run(self, batch: StepBatch, hidden: Tensor | None, begin: int, end: int) -> Tensor | None:
        assert self._ropes is not None
        logits: Tensor | None = self._decoder.forward(
            batch.token_ids,
            batch.positions,
            batch.slots,
            batch.rows,
            batch.block_table,
            batch.logits_at,
            self._ropes.reach(max(batch.context_lens)),
            self._ropes.of_layer,
            hidden,
            begin,
            end,
        )
        scale = self._logits_scale
        return logits if logits is None or scale in (None, 1) else logits.mul_(scale)

    def run_fused(self, hidden: Tensor, batch: StepBatch) -> Tensor:
        """All layers at once, inside transformers' own model. hidden (1, T, width) → the same."""
        x = hidden[0].clone().contiguous()
        by_position = self._ropes is not None
        if self._ropes is not None:
            tables, of_layer = self._ropes.reach(max(batch.context_lens)), self._ropes.of_layer
        else:
            tables, of_layer = _tables_of(batch.cache.ropes, self._uses_rope)
        self._decoder.run_layers(
            x, batch.positions, batch.slots, batch.rows, batch.block_table, tables, of_layer,
            by_position,
        )  # fmt: skip
        return x[None]

    def attend(self, call: AttentionCall, batch: StepBatch) -> Tensor:
        """Write the call's keys and values into their slots, then attend over the pages."""
        keys, values = self._pages[call.layer]
        out: Tensor = self.kernels.attend(
            _side_by_side(call.query),
            _side_by_side(call.key),
            _side_by_side(call.value),
            keys,
            values,
            self.block_tokens,
            batch.positions,
            batch.slots,
            batch.rows,
            batch.block_table,
            call.scale,
            call.window,
            call.softcap,
            None if call.sinks is None else call.sinks.float().contiguous(),
        )
        return out

    def measure_speed(self) -> DeviceSpeed:
        """See Backend. Of the kernels' own products, and of large pages, in which weights lie."""
        kernels = self.kernels
        data = kernels.Arena().bytes(READ_BYTES)
        data.fill_(1)  # pages that nobody wrote to are all the same one
        if self.dtype in ("int8", "int4"):
            flops_s = max(kernels.peak_bytes(), kernels.peak_matrix_bytes())
        elif self.dtype == "bfloat16":
            flops_s = max(kernels.peak_bf16(), kernels.peak_matrix_bf16())
        else:
            flops_s = kernels.peak_fp32()
        return DeviceSpeed(bandwidth_bytes_s=kernels.peak_read(data), flops_s=flops_s)

    def sampling_backend(self) -> SamplingBackend:
        """See Backend."""
        return NativeSampler(self.kernels)

    def weight_bytes(self) -> int:
        packed = sum(int(weights.nbytes) for weights in self._packed)
        return packed + sum(
            int(module.weight_bytes)
            for module in self.model.modules()
            if isinstance(module, PackedLinear) and module.packed not in self._packed
        )


class FusedLayer(nn.Module):
    """Stands where a decoder layer was. The last of them runs all the layers in one call."""

    def __init__(self, original: nn.Module, backend: NativeBackend, *, is_last: bool) -> None:
        super().__init__()
        self.is_last = is_last
        self._backend = backend
        for name in ("attention_type", "layer_type", "layer_idx"):  # models look at these
            if hasattr(original, name):
                setattr(self, name, getattr(original, name))

    def forward(
        self, hidden_states: Tensor, *_: Any, position_embeddings: Any = None, **__: Any
    ) -> Tensor:
        batch = current_batch()
        batch.cache.ropes.append(position_embeddings)
        if not self.is_last:
            return hidden_states
        return self._backend.run_fused(hidden_states, batch)


def _tables_of(
    ropes: Sequence[CosSin | None], uses_rope: Sequence[bool]
) -> tuple[list[CosSin], list[int]]:
    """This step's rotations by token: each distinct table once, and which layer uses which."""
    tables: list[CosSin] = []
    found: dict[int, int] = {}
    of_layer = []
    for cos_sin, used in zip(ropes, uses_rope, strict=True):
        if cos_sin is None or not used:
            of_layer.append(-1)
            continue
        key = id(cos_sin[0])
        if key not in found:
            found[key] = len(tables)
            tables.append(half_table(*cos_sin))
        of_layer.append(found[key])
    return tables, of_layer


def _side_by_side(heads: Tensor) -> Tensor:
    """(tokens, heads, dim) float32 with the heads of a token next to each other."""
    if heads.dtype != torch.float32 or heads.stride(2) != 1 or heads.stride(1) != heads.shape[2]:
        return heads.float().contiguous()
    return heads
