"""`manage.py down`: stop a site that runs with this data folder, and whatever it left."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from chatsite.supervisor.down import down


class Command(BaseCommand):
    help = "Stop the site that `up` started with this data folder."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(down())
