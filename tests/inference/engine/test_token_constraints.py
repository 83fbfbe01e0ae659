"""What a request rules out never comes, whoever runs beside it and wherever the answer goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.contract import InvalidField, SamplingParams
from inference.engine.sampling.token_constraints import TokenConstraints

from .conftest import prompt_of

EOS = 2


def occurs(word: tuple[int, ...], tokens: list[int]) -> bool:
    return any(tuple(tokens[n : n + len(word)]) == word for n in range(len(tokens)))


@given(
    words=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple), max_size=4),
    answer=st.lists(st.integers(0, 3), max_size=12),
    prompt=st.lists(st.integers(0, 3), max_size=4),
)
def test_a_token_is_banned_exactly_where_it_completes_a_bad_word(words, answer, prompt):
    banned = TokenConstraints(bad=words).banned([*prompt, *answer], len(answer))
    for token in range(4):
        completes = any(
            word[-1] == token and answer[len(answer) - len(word) + 1 :] == list(word[:-1])
            for word in words
            if len(word) - 1 <= len(answer)
        )
        assert (token in banned) == completes


def test_only_allowed_tokens_come(llama, bench):
    engine = bench(llama)
    allowed = (7, 11, 400)
    ids = [
        engine.ask(
            prompt_of(9, seed=n), allowed_token_ids=allowed, temperature=1.5, seed=n, logprobs=2
        )
        for n in range(4)
    ]
    free = engine.ask(prompt_of(9), max_tokens=16)
    for request_id in ids:
        assert set(engine.listener.tokens(request_id)) <= set(allowed)
    entry = engine.listener.deltas(ids[0])[0].logprobs[0]
    assert entry.sampled > entry.chosen  # the latter is of the raw distribution
    alone = bench(llama).answer(prompt_of(9), max_tokens=16)
    assert engine.listener.tokens(free) == alone


def test_bad_words_do_not_come_and_a_resumed_answer_is_the_same(llama, bench):
    engine = bench(llama)
    plain = engine.answer(prompt_of(9))
    bad = ((plain[0],), (plain[4], plain[5]), tuple(plain[8:11]))
    options = {"bad_token_ids": bad, "max_tokens": 40}
    whole = engine.answer(prompt_of(9), **options)
    assert not any(occurs(word, whole) for word in bad)
    rest = engine.answer(prompt_of(9), **options, continue_from=tuple(whole[:7]))
    assert whole[:7] + rest == whole


def test_a_stop_token_ends_the_answer_and_gives_no_text(llama, bench):
    engine = bench(llama, eos=[EOS])
    plain = engine.answer(prompt_of(9), ignore_eos=True)
    stop = plain[5]
    first = plain.index(stop)
    request_id = engine.ask(prompt_of(9), ignore_eos=True, stop_token_ids=(stop,))
    result = engine.listener.result(request_id)
    assert (result.finish_reason, result.stop_string) == ("stop", None)
    assert engine.listener.tokens(request_id) == plain[: first + 1]
    assert len(engine.listener.text(request_id)) == first


def test_a_stop_token_may_not_come_before_min_tokens(llama, bench):
    engine = bench(llama)
    stop = engine.answer(prompt_of(9))[0]
    tokens = engine.answer(prompt_of(9), stop_token_ids=(stop,), min_tokens=10)
    assert stop not in tokens[:10]


def test_an_answer_that_was_lost_behind_its_stop_token_is_over(llama, bench):
    engine = bench(llama)
    options = {"stop_token_ids": (5,), "continue_from": (8, 5)}
    result = engine.listener.result(engine.ask(prompt_of(9), **options))
    assert (result.finish_reason, result.completion_tokens) == ("stop", 2)


def test_rules_that_leave_nothing_are_named_and_nobody_else_suffers(llama, bench):
    engine = bench(llama, eos=[EOS])
    contradictory = engine.ask(prompt_of(9), allowed_token_ids=(EOS,), min_tokens=3)
    other = engine.ask(prompt_of(9), max_tokens=8)
    result = engine.listener.result(contradictory)
    assert (result.finish_reason, result.error_code) == ("failed", "nothing_allowed")
    assert engine.listener.result(other).completion_tokens == 8


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stop_token_ids", (-1,)),
        ("stop_token_ids", (True,)),
        ("stop_token_ids", tuple(range(257))),
        ("allowed_token_ids", ()),
        ("allowed_token_ids", tuple(range(10_001))),
        ("bad_token_ids", ((),)),
        ("bad_token_ids", ((1,),) * 513),
    ],
)
def test_absurd_lists_are_refused_by_name(field, value):
    with pytest.raises(InvalidField) as caught:
        SamplingParams(**{field: value})
    assert caught.value.field == field.replace("bad_token_ids", "bad_words")


def test_a_salt_parts_the_prefix_cache(llama, bench):
    engine = bench(llama)
    prompt = prompt_of(100)

    def cached(salt: str) -> int:
        request_id = engine.ask(prompt, cache_salt=salt, max_tokens=2)
        return engine.listener.result(request_id).cached_tokens

    assert [cached("a"), cached("b"), cached("")] == [0, 0, 0]
    assert cached("a") == cached("b") == cached("") > 0


def test_scores_of_a_preempted_prompt_are_counted_once(llama, bench):
    """A person takes the only place of a scored prompt in the middle of its reading."""
    options = {"max_running": 1, "step_tokens": 32, "prefix_cache": False}
    engine = bench(llama, **options)
    prompt = prompt_of(600)
    scored = engine.ask(prompt, echo_logprobs=1, priority=5, max_tokens=1)
    engine.listener.wait(lambda: any(0 < p.done < 600 for p in engine.listener.progress(scored)))
    engine.ask(prompt_of(9), max_tokens=2)
    echo = engine.listener.result(scored).echo
    alone = bench(llama, **options)
    expected = alone.listener.result(alone.ask(prompt, echo_logprobs=1, max_tokens=1)).echo
    assert [e.chosen for e in echo] == pytest.approx([e.chosen for e in expected], abs=1e-4)
