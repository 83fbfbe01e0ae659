"""What the site's own trouble looks like to programs: 503 with Retry-After, and its code in a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from chatsite.api.error_responses import ApiError, of_chat_error, of_result
from chatsite.api.schemas.text_completions import CompletionBody
from chatsite.api.serving.choice import Choice, Piece
from chatsite.api.serving.formats import CompletionFormat
from chatsite.api.serving.responses import streamed_reply, whole_reply
from chatsite.errors import of_machine_error
from inference.contract import (
    Delta,
    ErrorCode,
    FinishReason,
    GenerationRequest,
    Result,
    SamplingParams,
    Stamp,
)
from inference.text import TextModel, load_text
from tests.support.vocabularies import byte_level

LOST = Result(
    request_id="r", attempt=1, finish_reason=FinishReason.INTERRUPTED,
    error_code=ErrorCode.WORKER_LOST, error_text="The model's worker stopped.",
)  # fmt: skip
TOKEN = Delta(
    request_id="r", attempt=1, position=0, token_ids=(40,), text="x", text_offset=0, mono_ns=0
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    return load_text(byte_level(Path(tmp_path_factory.mktemp("v")) / "m"))


class FakeRun:
    """A run whose events are given."""

    def __init__(self, text: TextModel, *events: Any) -> None:
        request = GenerationRequest(
            request_id="r", model="m", prompt_token_ids=(1,), sampling=SamplingParams(),
            received=Stamp.now(),
        )  # fmt: skip
        self.id, self.note = "r", "waiting"
        self.model = SimpleNamespace(slug="m", version=1)
        self.choices = [Choice(index=0, prompt_index=0, request=request, text=text)]
        self.usage = self.timings = dict
        self._events = events

    async def pieces(self) -> AsyncIterator[tuple[Choice, Piece]]:
        for event in self._events:
            piece = self.choices[0].take(event)
            if piece is not None:
                yield self.choices[0], piece


def form_of(run: Any) -> CompletionFormat:
    return CompletionFormat(run, CompletionBody.model_validate({"model": "m", "prompt": "x"}), [])


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.WORKER_LOST,
        ErrorCode.ENGINE_ERROR,
        ErrorCode.ENGINE_FAILED,
        ErrorCode.ENGINE_STOPPED,
        ErrorCode.MODEL_FAILED,
        ErrorCode.OUT_OF_MEMORY,
        ErrorCode.QUEUE_LOST,
        ErrorCode.EXPIRED,
    ],
)
def test_the_sites_own_trouble_may_be_tried_again(code):
    error = of_result(code, "")
    assert (error.status, error.code, error.kind) == (503, code, "server_error")
    assert int(error.response()["Retry-After"]) >= 1


def test_a_locked_database_may_be_tried_again():
    refusal = of_machine_error(OperationalError("database is locked"))
    assert refusal is not None
    assert of_chat_error(refusal).response()["Retry-After"]


def test_a_worker_lost_before_anything_is_shown_is_the_status(text):
    for reply in (
        lambda run: whole_reply(run, form_of(run)),
        lambda run: streamed_reply(run, form_of(run), None),
    ):
        with pytest.raises(ApiError) as caught:
            asyncio.run(reply(FakeRun(text, LOST)))
        assert (caught.value.status, caught.value.code) == (503, "worker_lost")
        assert "Retry-After" in caught.value.headers


def test_a_worker_lost_in_mid_stream_is_an_event_that_names_it(text):
    async def events() -> list[bytes]:
        run: Any = FakeRun(text, TOKEN, LOST)
        response = await streamed_reply(run, form_of(run), None)
        return [event async for event in response.streaming_content]

    first, last = asyncio.run(events())
    assert json.loads(first[6:])["choices"][0]["text"] == "x"
    error = json.loads(last[6:])["error"]
    assert (error["code"], error["type"]) == ("worker_lost", "server_error")
