"""Lets a socket speak its page's language: the one that was chosen, else the browser's.

Django's LocaleMiddleware does it for pages. A socket's language is read when it opens and holds for
its whole life: for the tasks that it starts and for the threads that they call. Choosing another
language loads the page anew, and with it the socket.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils import translation


class SocketLanguage:
    """ASGI middleware; stands behind the one that reads the cookies."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        with translation.override(language_of(scope)):
            return await self._app(scope, receive, send)


def language_of(scope: dict[str, Any]) -> str:
    """The language that the site would show this browser its pages in."""
    request = HttpRequest()
    request.COOKIES = scope.get("cookies", {})
    for name, value in scope["headers"]:
        if name == b"accept-language":
            request.META["HTTP_ACCEPT_LANGUAGE"] = value.decode("latin-1")
    return translation.get_language_from_request(request)
