"""A worker process from start to end, as Celery's signals tell it."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from celery import signals

from inference.text import ModelFolderError
from inference.worker.cancel_listener import Orders
from inference.worker.celery_consumer import membership
from inference.worker.heartbeat import Pulse
from inference.worker.runtime import Slot
from inference.worker.worker_config import WorkerSettings

log = logging.getLogger(__name__)

SWITCH_S = 0.0005  # how long a thread may keep the engine's from Python; the default costs steps

slot: Slot | None = None
_pulse: Pulse | None = None
_orders: Orders | None = None


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _begin(sender: str, instance: Any, **_: Any) -> None:
    """Start engine and threads. A setting or a model that can't be ends the process."""
    global slot, _pulse, _orders
    membership.begin(instance.app.amqp.queues)
    sys.setswitchinterval(SWITCH_S)
    try:
        slot = Slot(WorkerSettings.from_env(), worker=sender, line=membership)
        slot.start()
    except (ModelFolderError, ValueError) as error:
        raise SystemExit(f"The worker can't start: {error}") from error
    _pulse, _orders = Pulse(slot), Orders(slot)
    _pulse.start()
    _orders.start()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _leave(**_: Any) -> None:
    """Tasks wait for the engine, and the pool waits for its tasks: give them back first."""
    if slot is not None:
        slot.leave()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _end(**_: Any) -> None:
    if slot is None or _pulse is None or _orders is None:
        return
    _orders.stop()
    is_ended = slot.stop()
    _pulse.stop()
    if not is_ended:  # a thread inside torch would crash the interpreter's own end
        log.warning("the engine is still busy; leaving without it")
        logging.shutdown()
        os._exit(0)
