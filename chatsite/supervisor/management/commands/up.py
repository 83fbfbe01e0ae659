"""`manage.py up`: the whole site on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from chatsite.accounts.invitations import first_administrator_link
from chatsite.supervisor.pidfile import CannotStart
from chatsite.supervisor.site import EVERYWHERE, Site, SiteOptions
from inference import env


class Command(BaseCommand):
    help = "Start Redis, workers and web server, and watch them until Ctrl-C."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.site_options = SiteOptions(
            data=settings.DATA_DIR,
            host=settings.HOST,
            port=settings.PORT,
            model=settings.CHATSITE_MODEL,
            redis_url=settings.GIVEN_REDIS_URL or None,
            public_url=settings.PUBLIC_URL,
        )
        try:
            Site(self.site_options).run(self._prepare)
        except CannotStart as error:
            raise CommandError(str(error)) from None
        connections.close_all()
        sys.stdout.flush()
        # At once: to take Django down with the interpreter costs a second on a busy machine, in
        # which `down` waits. There is nothing else left to end.
        os._exit(0)

    def _prepare(self) -> str:
        try:
            call_command("migrate", interactive=False, verbosity=0)
            return "\n".join(self._hints())
        except (DatabaseError, OSError) as error:
            raise CannotStart(f"The database can't be prepared: {error}.") from None

    def _hints(self) -> Iterator[str]:
        if link := first_administrator_link(self.site_options.url):
            yield "No administrator yet. This link makes one, once:"
            yield link
        if self.site_options.host in EVERYWHERE and not env.text("ALLOWED_HOSTS"):
            yield (
                "Other machines are answered only by a name in ALLOWED_HOSTS, "
                "such as ALLOWED_HOSTS=chat.example.org,localhost"
            )
