"""Sends wake-ups to workers: as many as requests wait, so that no free worker sleeps meanwhile.

A surplus wake-up finds nothing to claim and ends; a lost one is sent again by the periodic task.
Busy workers claim request after request without using a wake-up, so wake-ups that are in the list
already count: otherwise the list would grow for as long as a worker is busy.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from inference.contract import Source
from inference.queue import broker, records
from inference.queue.records import RequestRecord

log = logging.getLogger(__name__)


def send(model: str, source: Source) -> None:
    """Send a wake-up, unless the list holds as many as requests wait.

    Call when a request has begun to wait, or to hand on a wake-up that this worker can't use.
    Raises kombu's or redis' errors.
    """
    if broker.count_wake_ups(model, source) < records.count_waiting(model):
        broker.send_wake_up(model, source)


def send_missing(waiting: Iterable[RequestRecord]) -> None:
    """Send the wake-ups again that were lost with their worker. Raises kombu's or redis' errors."""
    counts = Counter((record.model, record.source) for record in waiting)
    for (model, source), wanted in counts.items():
        missing = wanted - broker.count_wake_ups(model, source)
        if missing > 0:
            log.info("%s: %d wake-ups for %d waiting requests", model, missing, wanted)
        for _ in range(missing):
            broker.send_wake_up(model, source)
