"""What a stream's events say of an answer."""

from __future__ import annotations

from chatsite.generation.transcript import Transcript
from inference.contract import Delta, Event, Progress, Result, Stamp, Started

BOOT = Stamp.now()


def started(attempt: int, ms: int = 0) -> Started:
    return Started(request_id="r", attempt=attempt, worker=f"w{attempt}", stamp=at(ms))


def at(ms: int) -> Stamp:
    return BOOT.at_mono(BOOT.mono_ns + ms * 1_000_000)


def delta(position: int, text: str, offset: int, *, attempt: int = 1, ms: int = 0) -> Delta:
    return Delta(
        request_id="r", attempt=attempt, position=position, token_ids=(position,), text=text,
        text_offset=offset, mono_ns=at(ms).mono_ns,
    )  # fmt: skip


def test_tokens_said_again_by_a_later_attempt_change_nothing() -> None:
    events: list[Event] = [started(1), delta(0, "a", 0), delta(1, "b", 1), started(2)]
    events += [delta(1, "b", 1, attempt=2), delta(2, "c", 2, attempt=2)]
    transcript = Transcript().fold(events)
    assert transcript.text == "abc" and transcript.token_ids == [0, 1, 2]
    assert [len(a.tokens) for a in transcript.timelines] == [2, 1]


def test_text_goes_where_its_offset_says() -> None:
    transcript = Transcript("caf\ufffd", [7, 8]).fold([delta(2, "é!", 3)])
    assert transcript.text == "café!"


def test_the_terminal_entry_is_the_truth_and_nothing_follows_it() -> None:
    end = Result(request_id="r", attempt=1, finish_reason="stop", text_tail="\ufffd", text_offset=1)
    transcript = Transcript().fold([started(1), delta(0, "a", 0), end, delta(1, "b", 1)])
    assert transcript.text == "a\ufffd" and transcript.result is end


def test_a_lost_attempt_keeps_its_admission() -> None:
    progress = Progress(request_id="r", attempt=1, phase="prefill", mono_ns=at(30).mono_ns)
    transcript = Transcript().fold([started(1, 10), progress, delta(0, "a", 0, ms=50)])
    (timeline,) = transcript.timelines
    assert timeline.admitted == at(30) and timeline.tokens == [at(50)]
