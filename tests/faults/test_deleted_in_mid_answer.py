"""A conversation or a person is deleted while an answer is written: it stops, and nothing is left."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.page import PASSWORD, Page, post, question, sign_in
from tests.support.stack import Stack

LEFT = """
import json
from chatsite.chat.models import Conversation, Message
from chatsite.generation.models import Generation
from inference import client
from inference.queue import keys
from inference.queue.connection import connect
print(json.dumps({
    "running": [w.engine.running + w.engine.waiting for w in client.workers()],
    "kv_blocks": [w.engine.kv_blocks_used for w in client.workers()],
    "rows": Conversation.objects.filter(id=CONVERSATION, deleted_at=None).count()
    + Message.objects.filter(
        conversation_id=CONVERSATION, conversation__deleted_at=None
    ).count(),
    "state": Generation.objects.get(request_id=REQUEST).state,
    "live": len(client.live_requests()),
    "unstored": len(client.unstored_results()),
    "leases": len(connect().keys(keys.lease("*"))),
    "in_line": len(connect().keys(keys.waiting("*"))),
}))
"""
NOTHING = {
    "running": [0],
    "kv_blocks": [0],
    "rows": 0,
    "state": "cancelled",
    "live": 0,
    "unstored": 0,
    "leases": 0,
    "in_line": 0,
}


def delete_conversation(site: Stack, erin: httpx.Client, conversation: str) -> None:
    assert post(erin, f"/conversations/{conversation}/delete/", {}).status_code == 200


def delete_person(site: Stack, erin: httpx.Client, conversation: str) -> None:
    """As an administrator does, in the admin."""
    site.add_user("root", password=PASSWORD, staff=True)
    root = sign_in(site, "root")
    code = "from chatsite.accounts.models import User\nprint(User.objects.get(username='erin').pk)"
    path = f"/admin/accounts/user/{site.python(code).strip()}/delete/"
    root.get(path)
    form = {"post": "yes", "csrfmiddlewaretoken": root.cookies["csrftoken"]}
    answer = root.post(path, data=form, headers={"Referer": site.url})
    assert answer.url.path == "/admin/accounts/user/"


@pytest.mark.parametrize("delete", [delete_conversation, delete_person])
def test_the_answer_stops_and_nothing_is_left(
    site: Stack, delete: Callable[[Stack, httpx.Client, str], None]
) -> None:
    site.python(
        "from chatsite.accounts.models import User\nUser.objects.filter(username='erin').delete()"
    )
    site.add_user("erin", password=PASSWORD)
    erin = sign_in(site, "erin")

    async def ask() -> tuple[str, str]:
        page = Page(site, erin)
        async with page.open() as socket:
            await socket.send(question("Tell me about the sea.", preset="endless"))
            accepted = await page.read(socket, until="accepted")
            await page.read(socket, until="ended", enough=5)
            return page.request, str(accepted["conversation"]["id"])

    request, conversation = asyncio.run(ask())
    wait_until(lambda: left(site, request, conversation), lambda found: found["running"] == [1])
    delete(site, erin, conversation)
    wait_until(lambda: left(site, request, conversation), lambda found: found == NOTHING)


def wait_until(look: Callable[[], Any], is_reached: Callable[[Any], bool]) -> None:
    """A worker says what it runs once a second. The answer alone would take longer than this."""
    deadline = time.monotonic() + 15
    while not is_reached(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.3)


def left(site: Stack, request: str, conversation: str) -> dict[str, Any]:
    named = f"REQUEST, CONVERSATION = {request!r}, {conversation!r}\n"
    found: dict[str, Any] = json.loads(site.python(named + LEFT))
    return found
