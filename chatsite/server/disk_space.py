"""Says when the disk of the data folder is nearly full, so that questions are refused in time.

Below MIN_FREE_MB nothing new is begun; what runs is stored, and reading goes on. All is taken again
as soon as there is space.
"""

from __future__ import annotations

import shutil

from django.conf import settings

from chatsite.errors import ChatError
from inference.contract import ErrorCode


def is_low() -> bool:
    """Whether less than MIN_FREE_MB is free where the data lie."""
    try:
        free = shutil.disk_usage(settings.DATA_DIR).free
    except OSError:  # the folder is gone: the database says more
        return False
    return free < settings.MIN_FREE_MB * 1_000_000


def require_space() -> None:
    """Raises ChatError DISK_FULL while the disk is nearly full."""
    if is_low():
        raise ChatError(ErrorCode.DISK_FULL)
