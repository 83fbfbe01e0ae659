"""`manage.py backup FILE`: database and secret key into one archive, also while the site runs."""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = "Write database and secret key into an archive (SQLite; for PostgreSQL use pg_dump)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        database = settings.DATABASES["default"]
        if "sqlite3" not in database["ENGINE"]:
            raise CommandError("The database is not SQLite; use its own tool, such as pg_dump.")
        target: Path = options["file"]
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "db.sqlite3"
            source = sqlite3.connect(database["NAME"])
            into = sqlite3.connect(copy)
            with into:
                source.backup(into)  # consistent, whatever is being written
            source.close()
            into.close()
            with tarfile.open(target, "w:gz") as archive:
                archive.add(copy, "db.sqlite3")
                key = settings.DATA_DIR / "secret_key"
                if key.exists():
                    archive.add(key, "secret_key")
        target.chmod(0o600)
        self.stdout.write(f"{target} holds the database and the secret key; keep it safe.")
