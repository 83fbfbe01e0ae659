"""Celery's side of the way to a worker: queues, priorities, and what lies in them.

Tasks are sent by name and carry the request's id and attempt alone; the request itself is in the
ledger. Client and worker must use the same options, or they don't see one another's messages.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from celery import Celery

from inference.contract import PRIORITY_API, PRIORITY_CHAT, GenerationRequest
from inference.queue.connection import broker_url, connect, settings

GENERATE = "inference.generate"
STORE_RESULT = "chatsite.generation.store_result"
WEB_QUEUE = "web"
PRIORITY_STEPS = [0, 3, 6, 9]
PROGRAMS_FROM = 6  # the first step of those whom nobody watches
SEPARATOR = "\x06\x16"  # kombu's, between a queue's name and a priority step


def broker_options() -> dict[str, Any]:
    """Transport options of every Celery app of the project."""
    return {
        "visibility_timeout": 6 * 3600,  # our leases rescue, never a redelivery
        "queue_order_strategy": "priority",
        "priority_steps": PRIORITY_STEPS,
        "global_keyprefix": _prefix(),
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


def queue_of(model: str) -> str:
    return f"model.{model}"


def send_generate(request: GenerationRequest) -> None:
    """Put the request's task on its model's queue. Raises kombu's or redis' errors.

    One retry at once: the first send after a restart of Redis meets a dead connection.
    """
    sender().send_task(
        GENERATE,
        [request.request_id, request.attempt],
        queue=queue_of(request.model),
        priority=priority_of(request),
        argsrepr="",
        retry=True,
        retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
    )


def send_store_result(request_id: str, attempt: int) -> None:
    """Tell the site that an answer has ended. Raises kombu's or redis' errors."""
    sender().send_task(STORE_RESULT, [request_id, attempt], queue=WEB_QUEUE, retry=False)


def priority_of(request: GenerationRequest) -> int:
    """One of PRIORITY_STEPS: answers that had begun, people, batches, and batches that can wait.

    A finer order, by the request's own priority, is kept among those that a worker has taken.
    """
    if request.attempt > 1:
        return 0
    if request.priority <= PRIORITY_CHAT:
        return 3
    return 6 if request.priority <= PRIORITY_API else 9


def queued_requests(model: str) -> set[str]:
    """Ids of the requests whose task lies in the model's queue, taken by no worker yet."""
    found = set()
    for step in PRIORITY_STEPS:
        name = queue_of(model) + (f"{SEPARATOR}{step}" if step else "")
        for message in connect().lrange(_prefix() + name, 0, -1):
            arguments = json.loads(base64.b64decode(json.loads(message)["body"]))[0]
            found.add(str(arguments[0]))
    return found


def _prefix() -> str:
    return f"{settings().prefix}:celery:"
