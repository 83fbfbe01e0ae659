"""A JSON error for programs that miss the API's address.

A base URL without /v1, or one with a slash too many, leads to the site's pages, whose 404 is a page
of HTML that clients print whole as the error. A request that looks like a program's gets the
error in JSON instead, which says what the base URL must be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from chatsite.api.error_responses import base_url_is_v1
from chatsite.api.http.endpoints import with_id
from chatsite.server import cors

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def is_of_a_program(scope: Mapping[str, Any]) -> bool:
    """Whether a request brings a key, or JSON, or wants JSON alone."""
    headers = {name.lower(): value.lower() for name, value in scope["headers"]}
    accepts = headers.get(b"accept", b"")
    return (
        headers.get(b"authorization", b"").startswith(b"bearer ")
        or headers.get(b"content-type", b"").startswith(b"application/json")
        or (b"application/json" in accepts and b"text/html" not in accepts)
    )


def in_json(scope: Mapping[str, Any], send: Send) -> Send:
    """`send` for the site's pages, with a 404 page replaced by the API's error."""
    replaced = False

    async def send_json(message: Message) -> None:
        nonlocal replaced
        if message["type"] == "http.response.start" and _is_missing_page(message):
            replaced = True
            response = with_id(base_url_is_v1(scope["method"], scope["path"]).response())
            headers = [(n.encode().lower(), v.encode()) for n, v in response.items()]
            headers.append((b"content-length", str(len(response.content)).encode()))
            headers += cors.headers(dict(scope["headers"]).get(b"origin"))
            await send({**message, "headers": headers})
            body = b"" if scope["method"] == "HEAD" else response.content
            await send({"type": "http.response.body", "body": body})
        elif not replaced:
            await send(message)

    return send_json


def _is_missing_page(message: Message) -> bool:
    headers = {bytes(name).lower(): bytes(value) for name, value in message.get("headers", ())}
    return message["status"] == 404 and headers.get(b"content-type", b"").startswith(b"text/html")
