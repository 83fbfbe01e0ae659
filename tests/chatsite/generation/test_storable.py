"""What a program sends can be stored in any database: PostgreSQL takes no NUL, JSON's neither."""

from __future__ import annotations

import pytest

from chatsite.generation.models import Generation
from chatsite.generation.rows import close_generation, open_generation
from inference.contract import GenerationRequest, Result, SamplingParams, Stamp

pytestmark = pytest.mark.django_db


def test_a_nul_is_replaced_wherever_text_is_kept():
    request = GenerationRequest(
        request_id="0" * 32,
        model="m",
        prompt_token_ids=(1,),
        sampling=SamplingParams(stop=("a\0b",)),
        received=Stamp.now(),
        source="api",
    )
    row = open_generation(request)
    result = Result(
        request_id=request.request_id, attempt=1, finish_reason="failed", error_text="no \0 here"
    )
    assert close_generation(row, result, [])
    kept = Generation.objects.get()
    assert kept.sampling["stop"] == ["a\ufffdb"]
    assert kept.error_text == "no \ufffd here"
