"""Who runs next: decodes first, people before batches, the oldest and the shortest prompts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.contract import (
    PRIORITY_API,
    PRIORITY_CHAT,
    GenerationRequest,
    SamplingParams,
    Stamp,
)
from inference.engine.active_request import ActiveRequest, RequestStatus
from inference.engine.scheduling.kv_cache import BlockPool
from inference.engine.scheduling.prefill_pacing import PrefillBudget
from inference.engine.scheduling.scheduler import SHORT_PROMPT, Scheduled, Scheduler

NOW = Stamp.now()


def request(
    arrival: int, tokens: int | Sequence[int], *, priority: int = PRIORITY_CHAT
) -> ActiveRequest:
    ids = (
        list(tokens) if not isinstance(tokens, int) else [arrival * 1000 + n for n in range(tokens)]
    )
    wire = GenerationRequest(
        request_id=f"r{arrival}",
        model="small",
        prompt_token_ids=tuple(ids),
        sampling=SamplingParams(),
        received=NOW,
        priority=priority,
    )
    return ActiveRequest(request=wire, token_ids=ids, arrival=arrival, seed=0, started=NOW)


def make(blocks: int = 100, *, running: int = 8, window: int = 0) -> Scheduler:
    return Scheduler(BlockPool(blocks, 4), max_running=running, window=window)


def run(
    scheduler: Scheduler,
    *,
    budget: int = 64,
    prefill: int | None = None,
    blocking: int = 0,
    interleaved: int = 0,
) -> list[Scheduled]:
    """One step: schedule, compute, and append a token to all that are due."""
    limits = PrefillBudget(budget if prefill is None else prefill, blocking, interleaved)
    step = scheduler.schedule(step_tokens=budget, budget=limits)
    scheduler.advance(step)
    for item in step:
        if item.samples:
            item.request.append(7)
    return step


def lengths(step: list[Scheduled]) -> dict[str, int]:
    return {item.request.id: item.num_tokens for item in step}


def test_several_prompts_prefill_in_one_step():
    scheduler = make()
    for n, tokens in enumerate((10, 20, 5)):
        scheduler.add(request(n, tokens))
    assert lengths(run(scheduler)) == {"r0": 10, "r1": 20, "r2": 5}


def test_a_long_prompt_is_cut_to_the_budget_and_goes_on():
    scheduler = make()
    scheduler.add(request(0, 100))
    assert [lengths(run(scheduler, budget=40))["r0"] for _ in range(3)] == [40, 40, 20]


def test_decodes_never_wait_for_a_long_prompt():
    scheduler = make()
    scheduler.add(request(0, 4))
    run(scheduler)
    scheduler.add(request(1, 200))
    for _ in range(4):
        step = run(scheduler, budget=32)
        assert lengths(step) == {"r0": 1, "r1": 31}


def test_a_short_prompt_passes_a_long_one_that_keeps_half_the_budget():
    scheduler = make()
    scheduler.add(request(0, 200))
    scheduler.add(request(1, 8))
    assert lengths(run(scheduler, budget=40)) == {"r0": 32, "r1": 8}


def test_people_come_before_batches():
    scheduler = make(running=1)
    scheduler.add(request(0, 4, priority=PRIORITY_API))
    scheduler.add(request(1, 4))
    assert [*lengths(run(scheduler))] == ["r1"]


def test_a_person_takes_the_place_of_a_running_batch_request_which_loses_no_token():
    scheduler = make(running=1)
    batch = request(0, 4, priority=PRIORITY_API)
    scheduler.add(batch)
    run(scheduler)
    run(scheduler)
    before = list(batch.token_ids)
    person = request(1, 4)
    scheduler.add(person)
    assert [*lengths(run(scheduler))] == ["r1"]
    assert batch.status is RequestStatus.WAITING
    assert batch.token_ids == before
    scheduler.finish(person)
    step = run(scheduler)
    assert step[0].request is batch
    assert step[0].samples


def test_when_pages_run_out_the_last_to_come_is_thrown_back():
    scheduler = make(blocks=6)
    first, second = request(0, 8), request(1, 8)
    scheduler.add(first)
    scheduler.add(second)
    for _ in range(9):
        run(scheduler)
    assert first.status is RequestStatus.RUNNING
    assert second.status is RequestStatus.WAITING
    assert second.preemptions == 1
    assert second.blocks == []


def test_a_prompt_shares_what_another_has_computed():
    scheduler = make()
    scheduler.add(request(0, range(10)))
    run(scheduler)
    later = request(1, [*range(10), 55])
    scheduler.add(later)
    assert lengths(run(scheduler)) == {"r0": 1, "r1": 3}
    assert later.num_cached_tokens == 8


def test_one_token_prompts_run_once_per_step():
    scheduler = make()
    scheduler.add(request(0, 1))
    scheduler.add(request(1, 1))
    assert lengths(scheduler.schedule(step_tokens=8, budget=PrefillBudget(0))) == {}
    assert [i.num_tokens for i in scheduler.schedule(step_tokens=8, budget=PrefillBudget(8))] == [
        1,
        1,
    ]


def test_short_prompts_hold_up_the_decodes_and_long_ones_piggyback():
    scheduler = make(1000)
    scheduler.add(request(0, 4))
    run(scheduler)
    for arrival, tokens in ((1, SHORT_PROMPT + 1), (2, 30), (3, 30), (4, 30)):
        scheduler.add(request(arrival, tokens))
    assert lengths(run(scheduler, budget=500, prefill=6, blocking=80)) == {
        "r0": 1,
        "r1": 3,  # half of what may piggyback, for it has waited longest
        "r2": 30,
        "r3": 30,
        "r4": 17,
    }


def test_the_end_of_a_long_prompt_piggybacks_like_its_beginning():
    scheduler = make(1000)
    scheduler.add(request(0, 4))
    run(scheduler)
    scheduler.add(request(1, SHORT_PROMPT + 40))
    each = [lengths(run(scheduler, prefill=30, blocking=60))["r1"] for _ in range(18)]
    assert each == [30] * 18


def interleaved_of(scheduler: Scheduler) -> tuple[str, int]:
    assert scheduler.interleaved is not None
    return scheduler.interleaved.request.id, scheduler.interleaved.num_tokens


def test_where_steps_can_be_cut_long_prompts_are_interleaved_one_at_a_time():
    scheduler = make(1000)
    scheduler.add(request(0, 4))
    run(scheduler)
    for arrival, tokens in ((1, SHORT_PROMPT + 200), (2, SHORT_PROMPT + 1), (3, 30)):
        scheduler.add(request(arrival, tokens))
    assert lengths(run(scheduler, prefill=6, blocking=80, interleaved=40)) == {"r0": 1, "r3": 30}
    first = scheduler.interleaved
    assert interleaved_of(scheduler) == ("r1", 40)
    assert lengths(run(scheduler, interleaved=50)) == {"r0": 1, "r3": 1}
    assert scheduler.interleaved is first, "it is not through yet"
    scheduler.advance([first])
    assert first.request.num_computed == 40
    run(scheduler, interleaved=50)
    assert interleaved_of(scheduler) == ("r2", 50), "the shortest has every second turn"


@pytest.mark.parametrize("end", ["finish", "preempt"])
def test_a_request_that_leaves_is_no_longer_interleaved(end):
    scheduler = make(1000)
    scheduler.add(request(0, 4))
    run(scheduler)
    long = request(1, SHORT_PROMPT + 1)
    scheduler.add(long)
    run(scheduler, interleaved=32)
    assert interleaved_of(scheduler)[0] == "r1"
    getattr(scheduler, end)(long)
    assert scheduler.interleaved is None
    assert scheduler.pool.num_used == len(scheduler.running[0].blocks)


def test_batches_do_not_hold_up_the_answers_of_people():
    scheduler = make()
    scheduler.add(request(0, 4))
    run(scheduler)
    scheduler.add(request(1, 30, priority=PRIORITY_API))
    assert lengths(run(scheduler, prefill=6, blocking=60)) == {"r0": 1, "r1": 6}


def test_blocks_before_the_window_are_given_back():
    scheduler = make(window=8)
    one = request(0, 4)
    scheduler.add(one)
    for _ in range(40):
        run(scheduler)
    assert len(one.token_ids) == 44
    assert scheduler.pool.num_used <= 3, "eight tokens lie in three blocks of four at most"
    scheduler.finish(one)
    assert scheduler.pool.num_free == scheduler.pool.num_blocks


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_sequence_of_steps_keeps_the_books_and_finishes_everyone(data: st.DataObject):
    blocks = data.draw(st.integers(6, 20))
    scheduler = make(
        blocks, running=data.draw(st.integers(1, 5)), window=data.draw(st.sampled_from([0, 6]))
    )
    pool, alive, arrivals = scheduler.pool, [], 0
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["add", "step", "step", "step", "cancel", "poison"])):
            case "add":
                ids = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=12))
                kind = data.draw(st.sampled_from([PRIORITY_CHAT, PRIORITY_API]))
                alive.append(request(arrivals, ids, priority=kind))
                scheduler.add(alive[-1])
                arrivals += 1
            case "step":
                run(scheduler, budget=data.draw(st.integers(5, 20)))
            case action if alive:
                one = alive.pop(data.draw(st.integers(0, len(alive) - 1)))
                scheduler.finish(one, poisoned=action == "poison")
        for one in [one for one in alive if len(one.token_ids) >= 20]:
            alive.remove(one)
            scheduler.finish(one)
        assert pool.num_free + pool.num_used == pool.num_blocks
        owned = {block for one in alive for block in one.blocks} - {0}
        assert pool.num_used == len(owned)
        for one in alive:
            assert len(one.blocks) * pool.block_tokens >= one.num_computed
    for _ in range(3000):
        if not alive:
            break
        run(scheduler, budget=8)
        for one in [one for one in alive if len(one.token_ids) >= 20]:
            alive.remove(one)
            scheduler.finish(one)
    assert not alive, "somebody starves"
    assert pool.num_free == pool.num_blocks
