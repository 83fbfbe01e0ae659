"""A session that ends takes its open sockets along; those of other sessions stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.test import Client

from chatsite.accounts.models import User
from chatsite.asgi import application
from inference.contract import CloseCode
from tests.support.page import PASSWORD
from tests.support.sockets import join_group, opened

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sockets"),
]


async def open_page(user: User) -> tuple[Client, WebsocketCommunicator]:
    """A browser of that person's and its socket, which has joined the person's group."""
    client = Client()
    await sync_to_async(client.force_login)(user)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    headers = [
        (b"host", b"localhost"),
        (b"origin", b"http://localhost"),
        (b"cookie", f"{settings.SESSION_COOKIE_NAME}={session}".encode()),
    ]
    socket = WebsocketCommunicator(application, "/ws/chat/", headers=headers)
    opened.append(socket)
    assert (await socket.connect())[0]
    await socket.receive_from(timeout=5)  # welcome
    await join_group(user)
    return client, socket


async def is_closed(socket: WebsocketCommunicator) -> bool:
    """Within two seconds: by a message, that is, not by the look every ten."""
    try:
        said = await socket.receive_output(timeout=2)
    except TimeoutError:
        return False
    return said["type"] == "websocket.close" and said["code"] == CloseCode.SIGNED_OUT


async def test_signing_out_closes_this_sessions_pages_only(alice: User) -> None:
    client, page = await open_page(alice)
    _, elsewhere = await open_page(alice)
    await sync_to_async(client.post)("/accounts/sign-out/")
    assert await is_closed(page)
    assert not await is_closed(elsewhere)


def get_a_new_password(alice: User) -> None:
    alice.set_password("another long pass phrase")
    alice.save()


def be_deactivated(alice: User) -> None:
    alice.is_active = False
    alice.save()


def be_deleted(alice: User) -> None:
    alice.delete()


@pytest.mark.parametrize("happens", [get_a_new_password, be_deactivated, be_deleted])
async def test_all_pages_close(alice: User, happens: Callable[[User], Any]) -> None:
    _, page = await open_page(alice)
    await sync_to_async(happens)(alice)
    assert await is_closed(page)


async def test_signing_in_and_other_changes_close_nothing(alice: User) -> None:
    _, page = await open_page(alice)
    alice.first_name = "Alice"
    await sync_to_async(alice.save)()
    form = {"username": "alice", "password": PASSWORD}
    await sync_to_async(Client().post)("/accounts/sign-in/", form)
    assert not await is_closed(page)
