"""What a page or a script gets when a view failed: 503 for the machine's troubles, else 500.

Sessions and sign-ins are written outside of views too, so this stands where Django comes to after
any error: as the handler of status 500.
"""

from __future__ import annotations

import logging
import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.defaults import server_error

from chatsite.errors import ChatError, of_machine_error

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 5


def failed(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`; called while the exception is handled."""
    error = sys.exc_info()[1]
    refusal = of_machine_error(error)
    if refusal is None:
        return server_error(request)
    logger.warning("%s %s: %s (%s)", request.method, request.path, refusal.code, error)
    response = _response(request, refusal)
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    response._has_been_logged = True  # type: ignore[attr-defined]  # else with a traceback
    return response


def _response(request: HttpRequest, refusal: ChatError) -> HttpResponse:
    """A page for whoever asks for one; scripts get the form of all refusals."""
    if "text/html" in request.headers.get("Accept", ""):
        # Without the request: its context would ask the database again.
        return render(None, "503.html", {"text": refusal.text}, status=503)
    content = {"code": refusal.code, "text": refusal.text, "field": ""}
    return JsonResponse({"error": content}, status=503)
