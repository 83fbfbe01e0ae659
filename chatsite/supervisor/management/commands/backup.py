"""`manage.py backup FILE`: database and secret key into one archive, also while the site runs."""

from __future__ import annotations

import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from chatsite.secret_key import SECRET_KEY_FILE


class Command(BaseCommand):
    help = "Write database and secret key into an archive (SQLite; for PostgreSQL use pg_dump)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        database = settings.DATABASES["default"]
        if "sqlite3" not in database["ENGINE"]:
            raise CommandError("The database is not SQLite; use its own tool, such as pg_dump.")
        target: Path = options["file"]
        try:
            self._write(target, Path(database["NAME"]))
        except (OSError, sqlite3.Error) as error:
            raise CommandError(f"{target} can't be written: {error}") from None
        self.stdout.write(f"{target} holds the database and the secret key; keep it safe.")

    def _write(self, target: Path, database: Path) -> None:
        """The archive appears whole or not at all, for nobody else to read."""
        with tempfile.TemporaryDirectory(dir=target.resolve().parent) as folder:
            copy, draft = Path(folder) / "db.sqlite3", Path(folder) / "backup.tar.gz"
            with (
                closing(sqlite3.connect(database)) as source,
                closing(sqlite3.connect(copy)) as into,
            ):
                source.backup(into)  # consistent, whatever is being written
            with tarfile.open(draft, "w:gz") as archive:
                archive.add(copy, "db.sqlite3")
                key = settings.DATA_DIR / SECRET_KEY_FILE
                if key.exists():
                    archive.add(key, SECRET_KEY_FILE)
            draft.chmod(0o600)
            draft.replace(target)
