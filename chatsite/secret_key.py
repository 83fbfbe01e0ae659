"""Makes the site's secret key at first start and keeps it in the data folder."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

SECRET_KEY_FILE = "secret_key"


def stored_secret_key(data_dir: Path) -> str:
    """The key in `data_dir`, made when there is none. Raises ImproperlyConfigured."""
    path = data_dir / SECRET_KEY_FILE
    try:
        if not path.exists():
            _write_once(path, get_random_secret_key())
        return path.read_text()
    except OSError as error:
        raise ImproperlyConfigured(f"The secret key in {path}: {error.strerror}.") from None


def _write_once(path: Path, text: str) -> None:
    """Write a private file completely or not at all. Of several processes the first one's stays."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
