"""Celery's consumer as the slot needs it: patient with Redis, and on the queue of its model alone.

The queue is joined when the model is ready and left before it goes, by the calls that Celery's own
add_consumer and cancel_consumer make, in the consumer's thread. An eighth of the worker's places is
kept for people: while programs hold the others, their part of the queue isn't listened to.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from celery import bootsteps, signals
from celery.worker.consumer import Consumer

from inference.queue.broker import PROGRAMS_FROM

IDLE_QUEUE = "inference.idle"  # nobody sends to it; a consumer needs one queue
RETRY_S = 0.5
LEAVE_S = 2.0
COUNTED_OUT_S = 0.003
LISTEN_S = 0.05  # how long programs may wait to be listened to again


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
    """Which model's queue this process consumes from. `join` and `leave` come from any thread."""

    def __init__(self) -> None:
        self._wanted: str | None = None
        self._consumer: Any = None
        self._applied = threading.Event()

    def join(self, queue: str) -> None:
        self._want(queue)

    def leave(self) -> None:
        """Take no more tasks; waits a moment for the consumer to hear of it."""
        self._want(None)
        self._applied.wait(LEAVE_S)

    def begin(self, queues: Any) -> None:
        """Consume from no model's queue at start, whatever -Q says: no model is there yet."""
        for name in list(queues.consume_from):
            if name.startswith("model."):
                queues.deselect(name)
        queues.select_add(IDLE_QUEUE)

    def attach(self, consumer: Any) -> None:
        """The consumer that counts from now on; it is new after each loss of the connection."""
        self._consumer = consumer
        self._apply()

    def look_again(self) -> None:
        """A task has ended. Celery counts it out right after, and tells no event loop that sleeps
        because all places were taken: it would take the next task up to a second later."""
        consumer = self._consumer
        if consumer is not None and consumer.hub is not None:
            hub = consumer.hub
            hub.call_soon(partial(hub.call_later, COUNTED_OUT_S, _nothing))

    def _want(self, queue: str | None) -> None:
        self._wanted = queue
        self._applied.clear()
        if self._consumer is not None:
            self._consumer.call_soon(self._apply)

    def _apply(self) -> None:
        consumer, wanted = self._consumer, self._wanted
        if consumer.task_consumer is None:
            return  # it is being built anew and will come to attach()
        for name in list(consumer.app.amqp.queues.consume_from):
            if name.startswith("model.") and name != wanted:
                consumer.cancel_task_queue(name)
        if wanted is not None:
            consumer.add_task_queue(wanted)
        self._applied.set()


def _nothing() -> None:
    """The event loop's turn itself is what is wanted."""


class Places:
    """Who holds the places of this process: at most seven of eight are programs'."""

    def __init__(self) -> None:
        self._programs: set[str] = set()  # task ids; changed by consumer and pool threads

    def take(self, task_id: str, priority: int | None) -> None:
        """Before the consumer asks for the next task, so that no task too many comes."""
        if (priority or 0) >= PROGRAMS_FROM:
            self._programs.add(task_id)

    def give_back(self, task_id: str) -> None:
        self._programs.discard(task_id)

    def have_room_for_programs(self, places: int) -> bool:
        return len(self._programs) < places - places // 8

    def guard(self, consumer: Any) -> None:
        """Let this consumer ask for tasks of those alone who may have one.

        kombu names one list per queue and priority step in each BRPOP.
        """
        channel = consumer.task_consumer.channel
        ask, steps = channel._brpop_start, list(channel.priority_steps)
        peoples = [step for step in steps if step < PROGRAMS_FROM]

        def ask_for_those(timeout: float | None = None) -> None:
            is_open = self.have_room_for_programs(consumer.pool.num_processes)
            if is_open:
                ask(timeout)
                return
            channel.priority_steps = peoples
            try:
                ask(LISTEN_S)
            finally:
                channel.priority_steps = steps

        channel._brpop_start = ask_for_those


membership = QueueMembership()
places = Places()


@signals.task_received.connect  # type: ignore[untyped-decorator]
def _received(request: Any, **_: Any) -> None:
    places.take(request.id, request.delivery_info.get("priority"))


@signals.task_postrun.connect  # type: ignore[untyped-decorator]
def _ended(task_id: str, **_: Any) -> None:
    places.give_back(task_id)
    membership.look_again()


class KeepMembership(bootsteps.StartStopStep):  # type: ignore[misc]
    """Tells the membership of each new consumer, once it can take queues."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        places.guard(consumer)
        membership.attach(consumer)
