"""The quick wire form of stream entries says what the contract's own says."""

from __future__ import annotations

import math

import pytest

from inference.contract import (
    Delta,
    Event,
    Progress,
    Result,
    Stamp,
    Started,
    TokenLogprobs,
    from_wire,
)
from inference.queue.entries import entry_of, event_of

STAMP = Stamp.now()
EVENTS: list[Event] = [
    Started(request_id="r", attempt=2, worker="w", stamp=STAMP),
    Progress(request_id="r", attempt=1, phase="prefill", done=3, total=9, mono_ns=5),
    Delta(
        request_id="r",
        attempt=1,
        position=4,
        token_ids=(7, 8),
        text="né\ufffd\U0001f600\x00",
        text_offset=2,
        mono_ns=12,
    ),
    Delta(
        request_id="r",
        attempt=1,
        position=0,
        token_ids=(7,),
        text="",
        text_offset=0,
        mono_ns=1,
        logprobs=(TokenLogprobs(chosen=-0.5, sampled=-math.inf, top=((3, -math.inf), (1, -2.0))),),
    ),
    Result(
        request_id="r",
        attempt=1,
        finish_reason="length",
        started=STAMP,
        token_mono_ns=(1, 2, 3),
        echo=(TokenLogprobs(chosen=-1.0, sampled=-math.inf),),
    ),
    Result(request_id="r", attempt=1, finish_reason="stop", batch_mean=1.5, seed=-3),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_went(event: Event) -> None:
    kind, data = entry_of(event)
    raw = data if isinstance(data, bytes) else data.encode()
    assert event_of({b"k": kind.encode(), b"d": raw}) == event
    assert from_wire(type(event), raw) == event


def test_fields_of_a_newer_version_are_ignored_and_newer_kinds_refused() -> None:
    data = b'{"request_id":"r","attempt":1,"phase":"loading","colour":"blue"}'
    assert event_of({b"k": b"progress", b"d": data}) == Progress(
        request_id="r", attempt=1, phase="loading"
    )
    with pytest.raises(ValueError, match="unknown kind"):
        event_of({b"k": b"mood", b"d": b"{}"})
    with pytest.raises(ValueError, match="Delta"):
        event_of({b"k": b"delta", b"d": b"{}"})
