"""A run becomes an HTTP response: whole, or as server-sent events.

The status line of a stream waits for the first piece or the first heartbeat, so that a request
that fails at once still gets its own status.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

import msgspec
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse

from chatsite.api.error_responses import ApiError, internal
from chatsite.api.schemas.common import StreamOptions
from chatsite.api.schemas.replies import Error
from chatsite.api.schemas.text_completions import Completion
from chatsite.api.serving.formats import Chunk, Format
from chatsite.api.serving.runs import Run

logger = logging.getLogger(__name__)

encode = msgspec.json.Encoder().encode


async def whole_reply(run: Run, form: Format) -> HttpResponse:
    """Wait for every choice. Raises ApiError; a client that goes away stops the run."""
    async for _item in run.pieces():
        pass
    return HttpResponse(encode(form.whole()), content_type="application/json")


async def streamed_reply(
    run: Run, form: Format, options: StreamOptions | None
) -> StreamingHttpResponse:
    """Server-sent events. Raises ApiError while the status isn't sent yet."""
    events = _events(run, form, options or StreamOptions())
    first = await anext(events)
    response = StreamingHttpResponse(_guarded(first, events), content_type="text/event-stream")
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    return response


async def _guarded(first: bytes, events: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The events; an exception becomes an error event, as OpenAI's clients expect it."""
    try:
        yield first
        async for event in events:
            yield event
    except ApiError as error:
        yield _event(error.body())
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except Exception:
        logger.exception("a stream broke")
        yield _event(internal().body())
    finally:
        await events.aclose()


async def _events(run: Run, form: Format, options: StreamOptions) -> AsyncGenerator[bytes, None]:
    opened: set[int] = set()
    with_usage = bool(options.include_usage)
    every_usage = bool(options.continuous_usage_stats)
    unfinished = len(run.choices)

    def written(chunk: Chunk, *, is_last: bool = False) -> bytes:
        if every_usage:
            chunk["usage"] = run.usage()
        elif with_usage:
            chunk["usage"] = None
        if is_last:
            chunk["timings"] = run.timings()
        return _event(chunk)

    pieces = run.pieces()
    clock = asyncio.get_running_loop().time
    said = clock()
    try:
        async for item in pieces:
            if item is None:
                yield f": {run.note}\n\n".encode()
                continue
            if form.waits_for_end:
                if clock() - said > settings.API_HEARTBEAT_S:
                    said = clock()
                    yield b": writing\n\n"
                continue
            choice, piece = item
            if choice.index not in opened:
                opened.add(choice.index)
                if (opening := form.opening(choice)) is not None:
                    yield written(opening)
            unfinished -= piece.finish_reason is not None
            yield written(form.chunk(choice, piece), is_last=not unfinished and not with_usage)
    finally:
        await pieces.aclose()
    if form.waits_for_end:
        whole = cast(Completion, form.whole())  # chat completions never wait for the end
        del whole["usage"], whole["timings"]  # where every stream has them
        yield written(whole, is_last=not with_usage)
    if with_usage:
        ending = form.ending()
        ending["usage"], ending["timings"] = run.usage(), run.timings()
        yield _event(ending)
    yield b"data: [DONE]\n\n"


LINE_ENDS = {
    "\u0085".encode(): b"\\u0085",
    "\u2028".encode(): b"\\u2028",
    "\u2029".encode(): b"\\u2029",
}
"""No line ends of the protocol, but clients that split text into lines cut an event there."""


def _event(content: Chunk | Error) -> bytes:
    data = encode(content)
    for raw, escaped in LINE_ENDS.items():
        data = data.replace(raw, escaped)
    return b"data: " + data + b"\n\n"
