"""Behind a proxy that ends TLS: plain HTTP below /v1 is refused, and never redirected."""

from __future__ import annotations

import httpx
import pytest

from chatsite.asgi import application

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _behind_tls(settings) -> None:
    settings.BEHIND_TLS = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


async def get(path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return await client.get(path, headers=headers)


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/v1/models", "/v1/openapi.json", "/v1/", "/v1"])
@pytest.mark.parametrize("headers", [{}, {"X-Forwarded-Proto": "http"}])
async def test_a_key_that_came_in_the_open_is_refused_by_an_error(path, headers):
    reply = await get(path, Authorization="Bearer sk-chat-secret", **headers)
    assert reply.status_code == 403
    assert reply.json()["error"]["code"] == "https_required"
    assert "location" not in reply.headers


@pytest.mark.asyncio
async def test_what_came_over_https_is_served():
    reply = await get("/v1/openapi.json", **{"X-Forwarded-Proto": "https"})
    assert reply.status_code == 200
    missing = await get("/v1", **{"X-Forwarded-Proto": "https"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_url")
