"""How much prefill rides along with decodes."""

from __future__ import annotations

from inference.engine.scheduling.prefill_pacing import ASIDE_CHUNK, MIN_CHUNK, Allowance, Pace


def learnt() -> Pace:
    """Decoding one takes 10 ms; a prompt token adds 0.1 ms."""
    pace = Pace(max_gap_ratio=1.8, max_pause_s=0.02, step_tokens=512)
    pace.observe(decoding=1, prefill_tokens=0, step_s=0.010)
    pace.observe(decoding=1, prefill_tokens=100, step_s=0.020)
    return pace


def test_nobody_decoding_gives_the_whole_budget():
    assert learnt().allowance(decoding=0, prefilling=3) == Allowance(512)


def test_a_decode_is_stretched_by_the_ratio_at_most():
    assert learnt().allowance(decoding=1, prefilling=1).riding == 80


def test_a_burst_of_arrivals_outweighs_few_who_are_served():
    assert learnt().allowance(decoding=1, prefilling=4).riding > 4 * 80


def test_short_prompts_may_add_a_moment_however_long_a_decode_takes():
    assert learnt().allowance(decoding=1, prefilling=1).pausing == 200


def test_an_unknown_width_is_measured_without_prefill_first():
    pace = learnt()
    assert pace.allowance(decoding=4, prefilling=1) == Allowance(0)
    pace.observe(decoding=4, prefill_tokens=0, step_s=0.011)
    assert pace.allowance(decoding=4, prefilling=1).riding == 88


def test_a_slow_machine_still_gets_on():
    pace = learnt()
    for _ in range(30):
        pace.observe(decoding=1, prefill_tokens=10, step_s=1.0)
    assert pace.allowance(decoding=1, prefilling=1).riding == MIN_CHUNK


def test_what_decoding_alone_takes_is_learnt_anew_now_and_then():
    pace = learnt()
    for _ in range(100):
        pace.observe(decoding=1, prefill_tokens=100, step_s=0.020)
    assert pace.allowance(decoding=1, prefilling=1) == Allowance(0)


def test_layers_beside_the_steps_take_no_more_than_the_ratio_leaves():
    pace = learnt()
    assert pace.allowance(decoding=1, prefilling=1).aside == 0, "steps can't be cut"
    pace.num_layers = 10
    assert pace.layers(32, decoding=1, prefilling=1) == 1, "nothing is known yet"
    pace.observe_aside(tokens=32, layers=1, spent_s=0.002)
    assert pace.layers(32, decoding=1, prefilling=1) == 4
    assert pace.allowance(decoding=1, prefilling=1).aside == ASIDE_CHUNK
    pace.observe_aside(tokens=32, layers=1, spent_s=1.0)
    assert pace.layers(32, decoding=1, prefilling=1) == 1, "slow as it is, it gets on"


def test_a_burst_of_long_prompts_has_larger_chunks():
    pace = learnt()
    pace.num_layers = 10
    pace.observe_aside(tokens=32, layers=1, spent_s=0.002)
    assert pace.allowance(decoding=1, prefilling=10).aside in (271, 272)
    assert pace.layers(271, decoding=1, prefilling=10) == 10
