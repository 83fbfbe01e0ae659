"""Sends workers' wake-ups: as many as requests wait, so that no free worker sleeps beside one.

A wake-up too many finds nothing to take and ends; a lost one is sent again by the periodic look.
Busy workers take request after request without a wake-up, so those that lie there already count:
else they would grow in number for as long as a worker is busy.
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
    """Send a wake-up unless as many lie there as requests wait. Raises kombu's or redis' errors.

    Call when a request has come to wait, or to hand on a wake-up that brought this worker nothing.
    """
    if broker.count_wake_ups(model, source) < records.count_waiting(model):
        broker.send_wake_up(model, source)


def send_missing(waiting: Iterable[RequestRecord]) -> None:
    """Send what a worker took and didn't live to use. Raises kombu's or redis' errors."""
    counts = Counter((record.model, record.source) for record in waiting)
    for (model, source), wanted in counts.items():
        missing = wanted - broker.count_wake_ups(model, source)
        if missing > 0:
            log.info("%s: %d wake-ups for %d waiting requests", model, missing, wanted)
        for _ in range(missing):
            broker.send_wake_up(model, source)
