"""`manage.py apikey USER`: make an API key and print it, once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from chatsite.accounts.models import User
from chatsite.api.access.api_keys import make_key
from chatsite.errors import ChatError


class Command(BaseCommand):
    help = "Makes an API key for USER and prints it. It is shown only now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the owner's user name")
        parser.add_argument("--name", default="command line", help="what the key is for")

    def handle(self, *args: Any, user: str, name: str, **options: Any) -> None:
        owner = User.objects.filter(username=user, is_active=True).first()
        if owner is None:
            raise CommandError(f"There is no active user “{user}”.")
        try:
            _key, secret = make_key(owner, name=name)
        except ChatError as error:
            raise CommandError(error.text) from error
        self.stdout.write(secret)  # alone on its line, so that KEY=$(… apikey bob) works
