"""`manage.py invite`: print a one-time link for a new person."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from chatsite.accounts.invitations import invite, link_of


class Command(BaseCommand):
    help = "Print a one-time link that makes an account."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--note", default="", help="for whom it is")
        parser.add_argument("--administrator", action="store_true")
        parser.add_argument("--url", default="http://localhost:8000/", help="the site's address")

    def handle(self, *args: Any, **options: Any) -> None:
        _, secret = invite(note=options["note"], makes_administrator=options["administrator"])
        self.stdout.write(link_of(secret, options["url"]))
