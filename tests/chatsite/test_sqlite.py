"""SQLite as the site sets it up: threads that write at once lose nothing."""

from __future__ import annotations

import threading

import pytest
from django.db import close_old_connections, connection, transaction

from chatsite.accounts.models import User
from chatsite.chat.models import Conversation

THREADS, WRITES = 8, 25


@pytest.mark.skipif(connection.vendor != "sqlite", reason="it is about SQLite's transactions")
@pytest.mark.django_db(transaction=True)
def test_eight_threads_that_read_modify_and_write_lose_nothing() -> None:
    owner = User.objects.create_user("alice")
    row = Conversation.objects.create(owner=owner, title="0")
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(WRITES):
                with transaction.atomic():
                    found = Conversation.objects.get(pk=row.pk)
                    found.title = str(int(found.title) + 1)
                    found.save()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()
            close_old_connections()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row.refresh_from_db()
    assert errors == []
    assert row.title == str(THREADS * WRITES)
