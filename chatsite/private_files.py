"""Keeps the data folder its owner's: conversations, session keys and hashes of passwords lie in it.

Whoever can read a session key is signed in as its person. So every process that reads the settings
makes files for its user alone, and a folder that others can enter is closed or refused.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

UMASK = 0o077
SHARED = ("models", "kernels")
"""Folders that hold nobody's text; other users of the machine may use them from elsewhere."""


class NotPrivate(Exception):
    """Others can enter the folder, and that can't be changed; the message is for people."""


def keep_private(data: Path) -> None:
    """Make the folder, and make it and all files to come this user's alone.

    Raises NotPrivate, OSError.
    """
    os.umask(UMASK)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _is_closed(data):
        return
    found = data.stat()
    is_ours = found.st_uid == os.geteuid() or os.geteuid() == 0
    if is_ours and not _is_for_everybody(data, found.st_mode):
        with suppress(OSError):
            data.chmod(0o700)
    if not _is_closed(data):
        raise NotPrivate(
            f"{data} can be read by other users of this machine, and conversations are kept in it. "
            f"Use a folder of your own, with: chmod 700 {data}"
        )


def close_files(data: Path) -> int:
    """Take the rights of others from all that lies in the folder. Returns how many had any."""
    num_open = 0
    for folder, names, files in os.walk(data):  # links are not followed
        if Path(folder) == data:
            names[:] = [name for name in names if name not in SHARED]
        for path in (Path(folder) / name for name in (*names, *files)):
            with suppress(OSError):
                mode = path.lstat().st_mode
                if not stat.S_ISLNK(mode) and mode & 0o077:
                    path.chmod(stat.S_IMODE(mode) & ~0o077)
                    num_open += 1
    return num_open


def _is_for_everybody(data: Path, mode: int) -> bool:
    """A folder like /tmp, with what is not the site's in it."""
    if not mode & stat.S_ISVTX:
        return False
    names = {path.name for path in data.iterdir()}
    return bool(names) and "secret_key" not in names


def _is_closed(data: Path) -> bool:
    return not data.stat().st_mode & 0o077
