"""`manage.py up`: the whole site on this machine, until Ctrl-C."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from chatsite.accounts.invitations import first_administrator_link
from chatsite.supervisor.checks import CannotStart
from chatsite.supervisor.site import Site, SiteOptions


class Command(BaseCommand):
    help = "Start Redis, workers and web server, and watch them until Ctrl-C."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        site_options = SiteOptions(
            data=settings.DATA_DIR,
            host=settings.HOST,
            port=settings.PORT,
            model=settings.CHATSITE_MODEL,
            redis_url=os.environ.get("REDIS_URL") or None,
        )
        site = Site(site_options)
        try:
            site.prepare()
            try:
                call_command("migrate", interactive=False, verbosity=0)
                link = first_administrator_link(site_options.url)
            except (DatabaseError, OSError) as error:
                site.stop()
                raise CannotStart(f"The database can't be prepared: {error}.") from None
        except CannotStart as error:
            raise CommandError(str(error)) from None
        text = f"No administrator yet. This link makes one, once:\n{link}" if link else ""
        site.run(on_ready=text)
