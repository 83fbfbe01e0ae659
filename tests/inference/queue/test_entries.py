"""Events come back from a stream as they were written."""

from __future__ import annotations

import json
import math

import pytest

from inference.contract import (
    LOGPROB_FLOOR,
    Delta,
    Event,
    Progress,
    Result,
    Stamp,
    Started,
    TokenLogprobs,
)
from inference.queue.entries import entry_of, event_of, started_entry

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
    assert event_of({b"k": kind.encode(), b"d": data.encode()}) == event


def test_a_token_that_cannot_come_has_a_log_probability_that_json_can_hold() -> None:
    never = TokenLogprobs(chosen=-math.inf, sampled=-math.inf, top=((3, -math.inf),))
    _, data = entry_of(Result(request_id="r", attempt=1, finish_reason="stop", echo=(never,)))
    (written,) = json.loads(data)["echo"]
    assert written == {"chosen": LOGPROB_FLOOR, "sampled": LOGPROB_FLOOR, "top": [[3, -1e9]]}


def test_the_start_of_an_attempt_lacks_only_what_the_ledger_puts_before_it() -> None:
    kind, data = started_entry(worker="w", stamp=STAMP)
    whole = f'{{"request_id":"r","attempt":2,{data[1:]}'
    assert event_of({b"k": kind.encode(), b"d": whole.encode()}) == EVENTS[0]


def test_fields_of_a_newer_version_are_ignored_and_newer_kinds_refused() -> None:
    data = b'{"request_id":"r","attempt":1,"phase":"loading","colour":"blue"}'
    assert event_of({b"k": b"progress", b"d": data}) == Progress(
        request_id="r", attempt=1, phase="loading"
    )
    with pytest.raises(ValueError, match="unknown kind"):
        event_of({b"k": b"mood", b"d": b"{}"})
    with pytest.raises(ValueError, match="Delta"):
        event_of({b"k": b"delta", b"d": b"{}"})
    with pytest.raises(ValueError, match="Delta"):
        event_of({b"k": b"delta"})
    with pytest.raises(ValueError, match="decode"):
        event_of({b"k": b"\xff"})
