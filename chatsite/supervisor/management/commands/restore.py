"""`manage.py restore FILE`: the way back from `backup`. The site must be down."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from chatsite.secret_key import SECRET_KEY_FILE
from chatsite.supervisor import pidfile
from chatsite.supervisor.pidfile import CannotStart

DATABASE_FILE = "db.sqlite3"


class Command(BaseCommand):
    help = "Put database and secret key of a backup in place; the old ones are kept beside them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        database = settings.DATABASES["default"]
        if "sqlite3" not in database["ENGINE"]:
            raise CommandError("The database is not SQLite; use its own tool, such as psql.")
        connections.close_all()
        with _alone(settings.DATA_DIR / "run"):
            try:
                with tarfile.open(options["file"]) as archive:
                    drafts = [
                        self._draft(archive, DATABASE_FILE, Path(database["NAME"])),
                        self._draft(archive, SECRET_KEY_FILE, settings.DATA_DIR / SECRET_KEY_FILE),
                    ]
            except (OSError, EOFError, tarfile.TarError) as error:
                raise CommandError(f"{options['file']} can't be read: {error}") from None
            for draft, target in filter(None, drafts):
                _keep_old(target)
                draft.replace(target)
        self.stdout.write("Restored. Start the site with: make up")

    def _draft(self, archive: tarfile.TarFile, name: str, target: Path) -> tuple[Path, Path] | None:
        """The member beside its place, complete on the disk before anything is moved."""
        if name not in archive.getnames():
            if name == DATABASE_FILE:
                raise CommandError("This is not a backup: it has no database.")
            return None
        source = archive.extractfile(name)
        if source is None:
            raise CommandError(f"{name} in the backup is not a file.")
        draft = target.with_name(f".{target.name}-restored")
        draft.touch(mode=0o600)
        with draft.open("wb") as file:
            shutil.copyfileobj(source, file)
        return draft, target


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    try:
        lock = pidfile.acquire_lock(run)
    except CannotStart as error:
        raise CommandError(str(error)) from None
    with lock:
        pidfile.stop_recorded(run)  # what a killed site left may still write
        yield


def _keep_old(target: Path) -> None:
    """Move a file aside, and what SQLite keeps beside it: part of the data may be only there."""
    for suffix in ("", "-wal", "-shm"):
        old = Path(f"{target}{suffix}")
        if old.exists():
            old.replace(f"{target}.before-restore{suffix}")
        else:
            Path(f"{target}.before-restore{suffix}").unlink(missing_ok=True)
