"""A worker's line to the fork server that started it: "my model is loaded", and "take over".

A worker on standby has its model loaded and does nothing else: it is on no queue, tells nobody of
itself and listens for no cancellations, until it is told to take over. A worker that was started
without a fork server has no line and serves from the beginning.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)

READY, TAKE_OVER = b"r", b"t"
LOOK_S = 0.05

_line: socket.socket | None = None
_stands_by = False


def connect(line: socket.socket, *, stands_by: bool) -> None:
    """Called in the forked process, before the worker begins."""
    global _line, _stands_by
    _line, _stands_by = line, stands_by


def stands_by() -> bool:
    """Whether this process waits to take over."""
    return _stands_by


def begin(*, is_ready: Callable[[], bool], take_over: Callable[[], None]) -> None:
    """Tell when the model is loaded; call `take_over`, in another thread, when told to."""
    if (line := _line) is None:
        return
    threading.Thread(target=_tell, args=(line, is_ready), name="standby ready", daemon=True).start()
    if _stands_by:
        threading.Thread(
            target=_listen, args=(line, take_over), name="standby wait", daemon=True
        ).start()


def _tell(line: socket.socket, is_ready: Callable[[], bool]) -> None:
    while not is_ready():
        time.sleep(LOOK_S)
    with suppress(OSError):
        line.send(READY)


def _listen(line: socket.socket, take_over: Callable[[], None]) -> None:
    global _stands_by
    with suppress(OSError):
        if line.recv(1) == TAKE_OVER:  # else the fork server is gone, and ends this process
            log.info("taking over")
            _stands_by = False
            take_over()
