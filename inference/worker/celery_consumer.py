"""Celery's consumer as a worker needs it: patient with Redis, and on the queues of its model alone.

The model's queues are joined when it is ready and left before it goes, by `add_task_queue` and
`cancel_task_queue`, which Celery's remote control calls too. The queue of API traffic is left as
well while such requests hold all places that they may have: its wake-ups wait there for workers
that can use them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import bootsteps
from celery.worker.consumer import Consumer

from inference.queue.broker import queue_of

IDLE_QUEUE = "inference.idle"  # nobody sends to it; a consumer needs one queue
RETRY_S = 0.5
LEAVE_S = 2.0
COUNTED_OUT_S = 0.003


class PatientConsumer(Consumer):  # type: ignore[misc]
    """Tries to reach Redis twice a second for as long as it takes, not ever more rarely."""

    def connection_for_read(self, heartbeat: float | None = None) -> Any:
        connection = self.app.connection_for_read(heartbeat=heartbeat)
        connection.ensure_connection = partial(
            connection.ensure_connection,
            interval_start=RETRY_S,
            interval_step=0,
            interval_max=RETRY_S,
        )
        return self.ensure_connected(connection)


class QueueMembership:
    """Which queues this process consumes from. `join`, `leave` and `refresh` are thread-safe."""

    def __init__(self) -> None:
        self._model: str | None = None
        self._is_held = False  # on standby: on no queue, whatever is joined
        self._is_api_full: Callable[[], bool] = lambda: False
        self._consumer: Any = None
        self._applied = threading.Event()

    def join(self, model: str) -> None:
        """Take wake-ups of this model."""
        self._model = model
        self._apply_soon()

    def leave(self) -> None:
        """Take no more wake-ups; waits a moment for the consumer to have left."""
        self._model = None
        self._applied.clear()
        self._apply_soon()
        self._applied.wait(LEAVE_S)

    def hold(self) -> None:
        """Consume from no model's queue until `release`."""
        self._is_held = True

    def release(self) -> None:
        """Consume from the queues of the model that was joined meanwhile, and of those to come."""
        self._is_held = False
        self._apply_soon()

    def refresh(self) -> None:
        """API traffic may take a place again, or no more: join its queue, or leave it."""
        self._apply_soon()

    def begin(self, queues: Any, *, is_api_full: Callable[[], bool]) -> None:
        """Consume from no model's queue at start, whatever -Q says: no model is there yet."""
        self._is_api_full = is_api_full
        for name in list(queues.consume_from):
            queues.deselect(name)
        queues.select_add(IDLE_QUEUE)

    def attach(self, consumer: Any) -> None:
        """The consumer that counts from now on; it is new after each loss of the connection."""
        self._consumer = consumer
        self._apply()

    def task_has_ended(self) -> None:
        """Let the consumer ask for tasks again, should this one have had the last thread.

        Celery counts a task out right after it has ended, off the event loop's thread and without
        waking it: asleep because all threads were taken, it would ask again up to a second later.
        """
        hub = self._consumer.hub if self._consumer is not None else None
        if hub is not None:
            hub.call_soon(partial(hub.call_later, COUNTED_OUT_S, _turn))

    def _apply_soon(self) -> None:
        if self._consumer is not None:
            self._consumer.call_soon(self._apply)

    def _apply(self) -> None:
        """Join and leave. Runs in the consumer's thread, between two tasks."""
        consumer, model = self._consumer, self._model
        if consumer.task_consumer is None:
            return  # it is being built anew and will come to attach()
        wanted = []
        if model is not None and not self._is_held:
            wanted = [queue_of(model, "chat")]
            if not self._is_api_full():
                wanted.append(queue_of(model, "api"))
        queues = consumer.app.amqp.queues
        for name in list(queues.consume_from):
            if name not in (IDLE_QUEUE, *wanted):
                consumer.cancel_task_queue(name)
        for name in wanted:
            consumer.add_task_queue(name)
        if self._model == model:
            self._applied.set()


def _turn() -> None:
    """Nothing but a turn of the event loop, which asks for tasks at each."""


membership = QueueMembership()


class KeepMembership(bootsteps.StartStopStep):  # type: ignore[misc]
    """Hands each new consumer to the membership, once it can take queues."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        membership.attach(consumer)
