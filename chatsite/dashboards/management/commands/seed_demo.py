"""Fills a site with made-up requests and conversations, to look at and to time."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from chatsite.accounts.models import User
from chatsite.catalog.models import LanguageModel, SamplingPreset
from chatsite.dashboards.demo.conversations import write_conversations
from chatsite.dashboards.demo.requests import Cast, write_requests
from chatsite.generation.stats import roll_up

PEOPLE = ("demo-ada", "demo-ben", "demo-cleo", "demo-dev")


class Command(BaseCommand):
    help = (
        "Fill this site with made-up requests and conversations, to look at and to time. For a "
        "site of its own: they can't be told from real ones afterwards."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """How much of it."""
        parser.add_argument("--requests", type=int, default=10_000)
        parser.add_argument("--days", type=int, default=30, help="how far back they reach")
        parser.add_argument("--conversations", type=int, default=1_000)
        parser.add_argument(
            "--owner", help="whose conversations; the first administrator's if not given"
        )
        parser.add_argument(
            "--seed", type=int, default=7, help="the same figures for the same seed"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Requests, conversations, roll-ups, and how long each took."""
        owner = self._owner(options["owner"])
        people = [User.objects.get_or_create(username=name)[0] for name in PEOPLE]
        models = list(LanguageModel.objects.order_by("-is_default").values_list("slug", flat=True))
        presets = list(
            SamplingPreset.objects.order_by("-is_default").values_list("slug", flat=True)
        )
        models += [slug for slug in ("qwen3-0.6b",) if slug not in models]
        presets = presets or [""]
        days, now, seed = options["days"], timezone.now(), options["seed"]
        cast = Cast(models=models, presets=presets, user_ids=[p.pk for p in (owner, *people)])
        began = time.monotonic()
        write_requests(options["requests"], days=days, until=now, cast=cast, seed=seed)
        self._say(f"{options['requests']:,} requests", began)
        began = time.monotonic()
        write_conversations(
            options["conversations"], owner=owner, model=models[0], preset=presets[0], days=days,
            until=now, seed=seed,
        )  # fmt: skip
        self._say(f"{options['conversations']:,} conversations of {owner}", began)
        began = time.monotonic()
        self._say(f"{roll_up.rebuild():,} roll-ups", began)

    def _owner(self, name: str | None) -> User:
        owner = (
            User.objects.filter(**({"username": name} if name else {"is_superuser": True}))
            .order_by("pk")
            .first()
        )
        if owner is None:
            raise CommandError(
                "There is nobody of that name." if name else "Make an administrator first."
            )
        return owner

    def _say(self, what: str, began: float) -> None:
        self.stdout.write(f"{what}: {time.monotonic() - began:.1f} s")
