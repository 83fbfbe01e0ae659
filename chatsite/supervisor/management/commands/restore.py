"""`manage.py restore FILE`: the way back from `backup`. The site must be down."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

MEMBERS = ("db.sqlite3", "secret_key")


class Command(BaseCommand):
    help = "Put database and secret key of a backup in place; the old ones are kept beside them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        if (settings.DATA_DIR / "run" / "up.json").exists():
            raise CommandError("The site runs, or ended badly. Stop it first: make down")
        try:
            with tarfile.open(options["file"]) as archive:
                names = archive.getnames()
                if "db.sqlite3" not in names:
                    raise CommandError(f"{options['file']} is not a backup: it has no database.")
                for name in MEMBERS:
                    self._put(archive, name) if name in names else None
        except (OSError, tarfile.TarError) as error:
            raise CommandError(f"{options['file']} can't be read: {error}") from None
        self.stdout.write("Restored. Start the site with: make up")

    def _put(self, archive: tarfile.TarFile, name: str) -> None:
        member = archive.extractfile(name)
        if member is None:
            raise CommandError(f"{name} in the backup is not a file.")
        target = settings.DATA_DIR / name
        for suffix in ("-wal", "-shm"):
            Path(f"{target}{suffix}").unlink(missing_ok=True)
        if target.exists():
            target.replace(target.with_name(f"{name}.before-restore"))
        target.write_bytes(member.read())
        target.chmod(0o600)
