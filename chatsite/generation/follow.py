"""One request's events as they come, up to its end, for a page's socket or an API's stream."""

from __future__ import annotations

from collections.abc import AsyncIterator

from inference import client
from inference.contract import Event, Result


class StreamLost(Exception):
    """The queue knows nothing of the request any more, and its end was not seen."""


async def follow(
    request_id: str, *, position: int = 0, joins: bool = False
) -> AsyncIterator[Event | client.QueuePosition]:
    """The events of a request from token `position` on; the Result is the last.

    With `joins`, deltas that are there together come as one. Raises StreamLost, client.SlowReader.
    """
    async for event in client.hub().follow(request_id, position=position, joins=joins):
        yield event
        if isinstance(event, Result):
            return
    raise StreamLost(request_id)
