"""How much prefill is computed beside decodes."""

from __future__ import annotations

from inference.engine.scheduling.prefill_pacing import (
    MIN_CHUNK,
    MIN_INTERLEAVED_TOKENS,
    PrefillBudget,
    PrefillPacer,
)


def learnt() -> PrefillPacer:
    """Decoding one takes 10 ms; a prompt token adds 0.1 ms."""
    pacer = PrefillPacer(max_gap_ratio=1.8, max_pause_s=0.02, step_tokens=512)
    pacer.observe(decoding=1, prefill_tokens=0, step_s=0.010)
    pacer.observe(decoding=1, prefill_tokens=100, step_s=0.020)
    return pacer


def test_nobody_decoding_gives_the_whole_budget():
    assert learnt().budget(decoding=0, prefilling=3) == PrefillBudget(512)


def test_a_decode_is_stretched_by_the_ratio_at_most():
    assert learnt().budget(decoding=1, prefilling=1).piggybacked == 80


def test_a_burst_of_arrivals_outweighs_few_who_are_served():
    assert learnt().budget(decoding=1, prefilling=4).piggybacked > 4 * 80


def test_short_prompts_may_add_a_moment_however_long_a_decode_takes():
    assert learnt().budget(decoding=1, prefilling=1).blocking == 200


def test_an_unknown_width_is_measured_without_prefill_first():
    pacer = learnt()
    assert pacer.budget(decoding=4, prefilling=1) == PrefillBudget(0)
    pacer.observe(decoding=4, prefill_tokens=0, step_s=0.011)
    assert pacer.budget(decoding=4, prefilling=1).piggybacked == 88


def test_a_slow_machine_still_gets_on():
    pacer = learnt()
    for _ in range(30):
        pacer.observe(decoding=1, prefill_tokens=10, step_s=1.0)
    assert pacer.budget(decoding=1, prefilling=1).piggybacked == MIN_CHUNK


def test_what_decoding_alone_takes_is_learnt_anew_now_and_then():
    pacer = learnt()
    for _ in range(100):
        pacer.observe(decoding=1, prefill_tokens=100, step_s=0.020)
    assert pacer.budget(decoding=1, prefilling=1) == PrefillBudget(0)


def test_interleaved_layers_take_no_more_than_the_ratio_leaves():
    pacer = learnt()
    assert pacer.budget(decoding=1, prefilling=1).interleaved == 0, "steps can't be cut"
    pacer.num_layers = 10
    assert pacer.layers(32, decoding=1, prefilling=1) == 1, "nothing is known yet"
    pacer.observe_interleaved(tokens=32, layers=1, spent_s=0.002)
    assert pacer.layers(32, decoding=1, prefilling=1) == 4
    assert pacer.budget(decoding=1, prefilling=1).interleaved == MIN_INTERLEAVED_TOKENS
    pacer.observe_interleaved(tokens=32, layers=1, spent_s=1.0)
    assert pacer.layers(32, decoding=1, prefilling=1) == 1, "slow as it is, it gets on"


def test_a_burst_of_long_prompts_has_larger_chunks():
    pacer = learnt()
    pacer.num_layers = 10
    pacer.observe_interleaved(tokens=32, layers=1, spent_s=0.002)
    assert pacer.budget(decoding=1, prefilling=10).interleaved in (271, 272)
    assert pacer.layers(271, decoding=1, prefilling=10) == 10


def test_where_a_step_with_prefill_costs_much_it_takes_many_tokens():
    """On a GPU it is launched kernel by kernel: 16 tokens would take as long as 512."""
    pacer = PrefillPacer(max_gap_ratio=1.55, max_pause_s=0.1, step_tokens=2048, min_chunk=512)
    pacer.observe(decoding=4, prefill_tokens=0, step_s=0.002)
    pacer.observe(decoding=4, prefill_tokens=512, step_s=0.020)
    assert pacer.budget(decoding=4, prefilling=1).piggybacked == 512
