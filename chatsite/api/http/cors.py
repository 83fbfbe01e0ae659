"""Calls from pages of other sites (CORS): only of origins that the operator names.

A browser asks first, without the key (preflight), and shows a page a reply only if the reply names
the page's origin. Nothing here is about cookies: the API knows keys alone.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

METHODS = "GET, HEAD, POST, OPTIONS"
MAX_AGE_S = 600
EXPOSED = (
    "x-request-id, Link, Retry-After, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, "
    "x-ratelimit-reset-tokens"
)


def preflight(request: HttpRequest) -> HttpResponse | None:
    """The answer to a browser that asks first; None for any other request or origin."""
    asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not asks or not _is_allowed(request):
        return None
    response = HttpResponse(status=204)
    response["Access-Control-Allow-Methods"] = METHODS
    response["Access-Control-Max-Age"] = str(MAX_AGE_S)
    if wanted := request.headers.get("Access-Control-Request-Headers"):
        response["Access-Control-Allow-Headers"] = wanted
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        response["Access-Control-Allow-Private-Network"] = "true"
    return response


def name_origin(request: HttpRequest, response: HttpResponse) -> None:
    """Let the page that asks read the reply, if its origin is allowed."""
    if not settings.API_CORS_ORIGINS:
        return
    patch_vary_headers(response, ["Origin", "Access-Control-Request-Headers"])
    if _is_allowed(request):
        response["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response["Access-Control-Expose-Headers"] = EXPOSED


def _is_allowed(request: HttpRequest) -> bool:
    origin = request.headers.get("Origin", "")
    allowed = settings.API_CORS_ORIGINS
    return bool(origin) and ("*" in allowed or origin.lower() in allowed)
