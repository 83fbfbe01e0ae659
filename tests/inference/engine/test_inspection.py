"""Attention, logit lens and logits, against transformers' own eager outputs."""

from __future__ import annotations

import copy

import pytest
import torch

from inference.engine.inspection.inspector import InspectionRequest

from .conftest import generate, prompt_of, small_model


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gpt_oss"])
def test_what_is_seen_is_what_transformers_computes(kind, bench):
    more = {"num_local_experts": 4, "num_experts_per_tok": 2} if kind == "gpt_oss" else {}
    if kind != "llama":
        more |= {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2}
    model = small_model(kind, **more)
    engine = bench(model, step_tokens=32)
    prompt = prompt_of(50)
    seen = engine.engine.inspect(
        InspectionRequest(
            token_ids=tuple(prompt), layers=(0, -1), heads=(1, 3), lens_positions=(5, -1)
        )
    ).result(60)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    with torch.no_grad():
        out = eager(torch.tensor([prompt]), output_attentions=True, output_hidden_states=True)
    for layer in (0, 3):
        expected = out.attentions[layer][0, [1, 3], :, :50]
        assert torch.allclose(torch.from_numpy(seen.attention[layer]), expected, atol=1e-4)
    assert torch.allclose(torch.from_numpy(seen.next_logits), out.logits[0, -1], atol=2e-3)
    last = out.logits[0, -1].softmax(-1).topk(10)
    lens = seen.lens[-1][1]  # after the last layer the lens sees what the model says
    if kind != "gemma2":  # whose head has a soft cap that the lens leaves out
        assert [token for token, _ in lens] == last.indices.tolist()
        assert [p for _, p in lens] == pytest.approx(last.values.tolist(), abs=1e-4)
    assert len(seen.lens) == 4
    assert seen.lens_positions == (5, 49)


def test_a_running_answer_is_not_changed_and_hardly_held_up(llama, bench):
    engine = bench(llama)
    request_id = engine.ask(prompt_of(20), max_tokens=300)
    engine.listener.wait(lambda: engine.listener.deltas(request_id))
    engine.engine.inspect(InspectionRequest(token_ids=tuple(prompt_of(400)), layers=(1,))).result(
        60
    )
    pieces = [d.mono_ns for d in engine.listener.deltas(request_id)]
    assert len(pieces) > 400 // 16, "the answer went on between the pieces"
    assert engine.listener.tokens(request_id) == generate(llama, prompt_of(20), 300)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"token_ids": ()}, "token_ids"),
        ({"token_ids": (1,) * 2000}, "token_ids"),
        ({"token_ids": (9999,)}, "token_ids"),
        ({"layers": (4,)}, "layers"),
        ({"heads": (-5,)}, "heads"),
        ({"lens_positions": (3,)}, "lens_positions"),
        ({"lens_top": 0}, "lens_top"),
    ],
)
def test_what_is_out_of_range_is_named(llama, bench, changes, named):
    engine = bench(llama)
    request = InspectionRequest(**{"token_ids": (5, 6, 7), **changes})
    with pytest.raises(ValueError, match=named):
        engine.engine.inspect(request).result(60)
