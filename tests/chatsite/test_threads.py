"""Blocking work runs off the event loop, and API traffic on threads of its own."""

from __future__ import annotations

import threading

import pytest

from chatsite.threads import API_POOL, in_pool, in_thread

pytestmark = pytest.mark.django_db  # the pools' threads look after connections they have had


def thread_name(prefix: str = "") -> str:
    return prefix + threading.current_thread().name


@pytest.mark.asyncio
async def test_a_function_runs_in_another_thread() -> None:
    assert await in_thread(thread_name) != thread_name()
    assert (await in_thread(thread_name, prefix="in ")).startswith("in ")


@pytest.mark.asyncio
async def test_api_traffic_has_threads_of_its_own() -> None:
    assert (await in_pool(API_POOL, thread_name)).startswith("api")
    assert not (await in_thread(thread_name)).startswith("api")


@pytest.mark.asyncio
async def test_what_the_function_raises_arrives() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)
