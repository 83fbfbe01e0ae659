"""Celery's side of the way to a worker: two queues per model, and the tasks that are sent.

A task for a worker is a wake-up: "take the best waiting request of this model". It names no
request; which one is the best is in the ledger. Requests of people who chat and of API traffic have
a queue each, so that a worker whose places for API traffic are taken can leave one and stay on the
other. Client and worker must use the same options, or they don't see one another's messages.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import redis
from celery import Celery

from inference.contract import Source
from inference.queue.connection import broker_url, settings

GENERATE = "inference.generate"
STORE_RESULT = "chatsite.generation.store_result"
WEB_QUEUE = "web"
API_QUEUES = "model-api."


def broker_options() -> dict[str, Any]:
    """Transport options of every Celery app of the project."""
    return {
        "visibility_timeout": 6 * 3600,  # leases recover requests, never a redelivery
        "priority_steps": [0],  # the ledger keeps the order: one list per queue is enough
        "global_keyprefix": f"{settings().prefix}:celery:",
        "socket_connect_timeout": 1.0,
        "socket_timeout": 20.0,
        "retry_on_timeout": False,
    }


@cache
def sender() -> Celery:
    """The app that only sends; it fails within about two seconds when Redis is away."""
    app = Celery("chatsite-client", broker=broker_url())
    app.conf.update(
        task_ignore_result=True,
        broker_connection_timeout=1.0,
        broker_transport_options={**broker_options(), "socket_timeout": 2.0},
        broker_connection_retry=False,
        broker_connection_max_retries=0,
    )
    return app


def queue_of(model: str, source: Source) -> str:
    return f"{API_QUEUES}{model}" if source == "api" else f"model.{model}"


def is_api_queue(name: str | None) -> bool:
    return name is not None and name.startswith(API_QUEUES)


def send_wake_up(model: str, source: Source) -> None:
    """Put one wake-up on a model's queue. Raises kombu's or redis' errors.

    One retry at once: the first send after a restart of Redis meets a dead connection.
    """
    sender().send_task(
        GENERATE,
        [model, source],
        queue=queue_of(model, source),
        retry=True,
        retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
    )


def count_wake_ups(model: str, source: Source) -> int:
    """Wake-ups on a model's queue, taken by no worker yet. Raises kombu's or redis' errors."""
    with sender().connection_or_acquire() as connection:
        try:  # not passive: kombu then looks for the queue without its prefix, and finds none
            declared = connection.default_channel.queue_declare(queue_of(model, source))
        except redis.ConnectionError:
            return 0  # broken since Redis restarted; the send, which tries twice, will tell
    return int(declared.message_count)


def send_store_result(request_id: str, attempt: int) -> None:
    """Tell the site that an answer has ended. Raises kombu's or redis' errors."""
    sender().send_task(STORE_RESULT, [request_id, attempt], queue=WEB_QUEUE, retry=False)
