"""How an answer's tokens were chosen: packed, stored with it, continued with it, gone with it."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel
from chatsite.chat import actions
from chatsite.chat.models import Message
from chatsite.generation import token_trace
from chatsite.generation.checkpoints import Checkpoints
from chatsite.generation.figures import figures_of
from chatsite.generation.models import Generation, TokenTrace
from chatsite.generation.store import end_without_worker, store
from inference.contract import NO_TOKEN, TOKEN_RECORD, FinishReason, GenerationRequest, Stamp
from inference.queue import records
from tests.chatsite.generation.conftest import ask
from tests.chatsite.generation.timelines import RECEIVED, timelines
from tests.support.redis import RedisServer
from tests.support.requests import delta, ending, is_claimed, write


def record(token: int, seed: int = 0) -> bytes:
    """A record with its own numbers, as an engine would make it."""
    generator = np.random.default_rng(seed + token)
    made = np.zeros(1, dtype=TOKEN_RECORD)
    for name in token_trace.PLAIN:
        made[name] = generator.uniform(-20, 20) if name != "width" else generator.integers(1, 40)
    distances = np.sort(generator.exponential(2, 20)).astype("<f4")
    made["candidates"] = generator.integers(0, 200_000, 20)
    made["candidates_below_best"], made["below_best"] = distances, distances[3]
    made["token"], made["rank"], made["kept"], made["floor"] = token, 4, 17, np.inf
    return made.tobytes()


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 2**20))
def test_what_is_packed_is_what_is_unpacked(are_known: list[bool], seed: int) -> None:
    wire = [record(n, seed) if known else b"" for n, known in enumerate(are_known)]
    gaps = [-1 if n % 7 == 0 else n * 1000 for n in range(len(wire))]
    traced = token_trace.unpack(token_trace.pack(wire, gaps), first=5)
    assert traced.is_known.tolist() == are_known
    assert traced.gaps_us.tolist() == gaps
    for n, known in enumerate(are_known):
        if not known:
            continue
        was, now = np.frombuffer(wire[n], dtype=TOKEN_RECORD)[0], traced.records[n]
        for name in (*token_trace.COUNTS, *token_trace.PLAIN):
            assert np.array_equal(was[name], now[name]), name
        for name in token_trace.DISTANCES:
            assert np.allclose(was[name], now[name], atol=token_trace.LOGIT_STEP / 2), name


def test_what_is_not_there_stays_so() -> None:
    made = np.frombuffer(record(3), dtype=TOKEN_RECORD).copy()
    made["candidates"][0, 5:], made["candidates_below_best"][0, 5:] = NO_TOKEN, np.inf
    now = token_trace.unpack(token_trace.pack([made.tobytes()], [-1]), first=0).records[0]
    assert now["candidates"][5:].tolist() == [NO_TOKEN] * 15
    assert np.isinf(now["candidates_below_best"][5:]).all()
    assert np.isinf(now["floor"])


def test_a_layout_of_another_version_is_refused() -> None:
    data = bytearray(token_trace.pack([record(1)], [-1]))
    data[0] = 9
    with pytest.raises(ValueError, match="layout 9"):
        token_trace.unpack(bytes(data), first=0)


@given(st.lists(st.integers(0, 2**24 - 2)))
def test_a_prompt_of_any_ids_comes_back(ids: list[int]) -> None:
    assert token_trace.unpack_ids(token_trace.pack_ids(ids)) == ids


@given(timelines())
def test_the_gaps_add_up_to_the_decode_exactly(attempts: Any) -> None:
    generation = Generation(received_stamp=dataclasses.asdict(RECEIVED))
    gaps = token_trace.gaps_us(generation, attempts)
    assert len(gaps) == sum(len(attempt.tokens) for attempt in attempts)
    decode_us = figures_of(RECEIVED, attempts).decode_us
    assert sum(gap for gap in gaps if gap >= 0) == (decode_us or 0)


# --- with a queue and no worker --------------------------------------------------------------------


def taken(answer: Message) -> GenerationRequest:
    assert answer.request_id is not None
    entry = records.get(answer.request_id.hex)
    assert entry is not None
    assert is_claimed(entry.request)
    return entry.request


def written(request: GenerationRequest, first: int, end: int, *, attempt: int = 1) -> None:
    now = Stamp.now().mono_ns
    write(
        *(
            dataclasses.replace(
                delta(request, n, attempt=attempt), records=record(n), mono_ns=now + n * 1_000_000
            )
            for n in range(first, end)
        )
    )


def finish(request: GenerationRequest, *, tokens: int, reason: FinishReason) -> None:
    write(ending(request, finish_reason=reason, completion_tokens=tokens))
    assert store(uuid.UUID(request.request_id))


@pytest.mark.django_db(transaction=True)
def test_an_answer_keeps_its_trace_through_continue_and_loses_it_with_itself(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    answer = ask(alice)
    request = taken(answer)
    assert request.wants_records
    written(request, 0, 5)
    finish(request, tokens=5, reason=FinishReason.LENGTH)
    actions.continue_answer(alice, request_id=uuid.uuid4(), message_id=answer.pk)
    answer.refresh_from_db()
    more = taken(answer)
    written(more, 5, 8)
    finish(more, tokens=8, reason=FinishReason.STOP)

    traces = token_trace.traces_of(answer.pk)
    assert [(trace.first, trace.count) for trace in traces] == [(0, 5), (5, 3)]
    assert token_trace.unpack_ids(bytes(traces[0].prompt)) == list(request.prompt_token_ids)
    unpacked = [token_trace.unpack(bytes(t.data), first=t.first) for t in traces]
    tokens = [token for one in unpacked for token in one.records["token"].tolist()]
    assert tokens == list(range(8))
    for trace, one in zip(traces, unpacked, strict=True):
        assert sum(g for g in one.gaps_us.tolist() if g >= 0) == trace.generation.decode_us

    answer.conversation.delete()
    assert not TokenTrace.objects.exists()
    assert Generation.objects.count() == 2  # the figures stay


@pytest.mark.django_db(transaction=True)
def test_a_checkpoint_keeps_the_trace_of_an_answer_whose_redis_is_lost(
    live_redis: RedisServer, alice: User, catalog: LanguageModel
) -> None:
    answer = ask(alice)
    written(taken(answer), 0, 4)
    assert answer.request_id is not None
    Checkpoints(every_s=0).save_running([answer.request_id])
    live_redis.client().flushall()
    assert end_without_worker(answer.request_id, FinishReason.INTERRUPTED)
    [trace] = token_trace.traces_of(answer.pk)
    traced = token_trace.unpack(bytes(trace.data), first=trace.first)
    answer.refresh_from_db()
    assert traced.records["token"].tolist() == answer.token_ids == [0, 1, 2, 3]


@pytest.mark.django_db(transaction=True)
def test_a_site_may_keep_no_traces(
    live_redis: RedisServer, alice: User, catalog: LanguageModel, settings: Any
) -> None:
    settings.SAVE_TOKEN_TRACES = False
    answer = ask(alice)
    request = taken(answer)
    assert not request.wants_records
    write(delta(request, 0))
    finish(request, tokens=1, reason=FinishReason.STOP)
    assert not TokenTrace.objects.exists()
