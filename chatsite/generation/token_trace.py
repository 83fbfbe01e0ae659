"""How the tokens of an answer were chosen, as the database keeps it: one row a request.

Packs the TOKEN_RECORDs that came with the tokens, the gap before each token and the prompt's ids
into a few bytes a token (docs/measures.md, One token, has the layout), and unpacks them. A row goes
with its answer; SAVE_TOKEN_TRACES=0 keeps none.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from chatsite.generation.figures import AttemptTimeline
from chatsite.generation.models import Generation, TokenTrace
from chatsite.generation.transcript import Transcript
from inference.contract import (
    TOKEN_RECORD,
    TOKEN_RECORD_BYTES,
    GenerationRequest,
    from_wire,
    offset_us,
)

LAYOUT = 1
HEADER = struct.Struct("<BI")  # layout, number of tokens
LOGIT_STEP = 2.0**-18
"""Distances of logits are whole steps in 24 bits: to 2e-6, up to 64 nats."""
FARTHEST = NO_ID = 2**24 - 1
"""A distance of 64 nats or more, of a token that can't come; and the id of none."""

Array = npt.NDArray[Any]

COUNTS = ("token", "rank", "kept", "candidates")  # whole numbers in 24 bits
DISTANCES = ("below_best", "floor", "candidates_below_best")
PLAIN = (
    "best_logit", "best_logprob", "entropy", "adjusted_best", "adjusted_log_total", "best_mass",
    "mass_k", "kept_mass", "drawn_logprob", "below", "uniform", "width",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traced:
    """The tokens that one request sampled, from `first` of the answer on.

    `records` are TOKEN_RECORDs; where `is_known` is false only the gap is known. `gaps_us` has -1
    for a token that follows nothing of its own attempt: TTFT or a recovery has paid for it.
    """

    first: int
    records: Array
    is_known: Array
    gaps_us: Array


def pack(records: Sequence[bytes], gaps_us: Sequence[int], *, level: int = 6) -> bytes:
    """One record (b"": not known) and one gap a token → bytes, compressed by zlib's `level`."""
    size = TOKEN_RECORD_BYTES
    known = np.array([len(record) == size for record in records], dtype=np.uint8)
    joined = b"".join(r if len(r) == size else bytes(size) for r in records)
    table = np.frombuffer(joined, dtype=TOKEN_RECORD)
    columns = [known.tobytes(), np.asarray(gaps_us, dtype="<i4").tobytes()]
    for name in COUNTS:
        columns.append(_planes_of_24(np.minimum(table[name], NO_ID)))
    for name in DISTANCES:
        steps = np.nan_to_num(table[name].astype(np.float64) / LOGIT_STEP, posinf=FARTHEST)
        columns.append(_planes_of_24(np.clip(np.rint(steps), 0, FARTHEST).astype("<u4")))
    for name in PLAIN:
        columns.append(_planes(np.ascontiguousarray(table[name])))
    packed = zlib.compress(b"".join(columns), level)
    return HEADER.pack(LAYOUT, len(known)) + packed


def unpack(data: bytes, *, first: int) -> Traced:
    """The tokens of a row. Raises ValueError for a layout that this version doesn't know."""
    layout, count = HEADER.unpack_from(data)
    if layout != LAYOUT:
        raise ValueError(f"layout {layout} of a token trace isn't known")
    left = zlib.decompress(data[HEADER.size :])
    table = np.zeros(count, dtype=TOKEN_RECORD)

    def take(length: int) -> bytes:
        nonlocal left
        taken, left = left[:length], left[length:]
        return taken

    known = np.frombuffer(take(count), dtype=np.uint8).astype(bool)
    gaps = np.frombuffer(take(4 * count), dtype="<i4").astype(np.int64)
    for name in COUNTS + DISTANCES:
        shape = table[name].shape
        size = int(np.prod(shape))
        whole = _whole_of(take(3 * size), size).reshape(shape)
        if name in COUNTS:
            table[name] = np.where(whole == NO_ID, 2**32 - 1, whole)
        else:
            table[name] = np.where(whole == FARTHEST, np.inf, whole * LOGIT_STEP)
    for name in PLAIN:
        dtype = table[name].dtype
        planes = np.frombuffer(take(dtype.itemsize * count), dtype=np.uint8)
        planes = planes.reshape(dtype.itemsize, count)
        table[name] = np.ascontiguousarray(planes.T).view(dtype)[:, 0] if count else []
    return Traced(first, table, known, gaps)


def _planes(values: Array) -> bytes:
    """The values' lowest bytes, then the next ones, …: like stands beside like."""
    bytes_of = values.reshape(-1).view(np.uint8).reshape(-1, values.dtype.itemsize)
    return np.ascontiguousarray(bytes_of.T).tobytes()


def _planes_of_24(values: Array) -> bytes:
    whole = np.ascontiguousarray(values, dtype="<u4")
    return _planes(whole)[: 3 * whole.size]


def _whole_of(data: bytes, size: int) -> Array:
    planes = np.frombuffer(data, dtype=np.uint8).reshape(3, size).astype(np.uint32)
    whole: Array = planes[0] | planes[1] << 8 | planes[2] << 16
    return whole


def pack_ids(token_ids: Iterable[int]) -> bytes:
    """Token ids in 24 bits each, compressed."""
    return zlib.compress(_planes_of_24(np.fromiter(token_ids, dtype=np.uint32)), 6)


def unpack_ids(data: bytes) -> list[int]:
    left = zlib.decompress(data)
    ids: list[int] = _whole_of(left, len(left) // 3).tolist()
    return ids


def gaps_us(generation: Generation, attempts: Iterable[AttemptTimeline]) -> list[int]:
    """The gap before each token, -1 before the first of an attempt; their sum is decode_us."""
    from chatsite.generation.rows import received_of

    received = received_of(generation)
    gaps: list[int] = []
    latest = 0
    for attempt in attempts:
        for place, stamp in enumerate(attempt.tokens):
            at = max(latest, offset_us(received, stamp)[0])
            gaps.append(at - latest if place else -1)
            latest = at
    return gaps


def save(generation: Generation, transcript: Transcript, *, level: int = 6) -> None:
    """Store or replace what is known of this request's tokens, if any record came.

    An answer that ends without its stream keeps what its last checkpoint has saved here; a
    checkpoint compresses at a low `level`, because the next one replaces it.
    """
    first = generation.continued_tokens
    if not transcript.records:
        return
    count = len(transcript.token_ids) - first
    gaps = gaps_us(generation, transcript.timelines)[-count:] if count else []
    gaps = [-1] * (count - len(gaps)) + gaps  # a lost Redis takes the stamps of older tokens
    records = [transcript.records.get(first + n, b"") for n in range(count)]
    values: dict[str, Any] = {
        "subject": generation.subject,
        "first": first,
        "count": count,
        "data": pack(records, gaps, level=level),
    }
    if generation.accepted_request:
        request = from_wire(GenerationRequest, generation.accepted_request)
        values["prompt"] = pack_ids(request.prompt_token_ids)
    TokenTrace.objects.update_or_create(generation=generation, defaults=values)


def forget(subjects: Iterable[UUID]) -> None:
    """Delete the traces of these answers."""
    TokenTrace.objects.filter(subject__in=list(subjects)).delete()


def traces_of(subject: UUID) -> list[TokenTrace]:
    """The requests of one answer that have a trace, in order."""
    return list(
        TokenTrace.objects.filter(subject=subject).select_related("generation").order_by("first")
    )
