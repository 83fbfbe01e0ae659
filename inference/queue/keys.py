"""Names of everything this project keeps in Redis, beside Celery's own lists."""

from __future__ import annotations

from inference.queue.connection import settings


def _key(*parts: str) -> str:
    return ":".join((settings().prefix, *parts))


def request(request_id: str) -> str:
    """Hash: state, attempt, model, source, wire, worker, next, losses, arrival, cancelled, times.

    `wire` is the GenerationRequest, the only large field. Times are wall ms.
    """
    return _key("req", request_id)


def stream(request_id: str) -> str:
    """Stream of the request's events."""
    return _key("gen", request_id)


def lease(request_id: str) -> str:
    """String: the attempt that runs; expires unless its worker renews it."""
    return _key("lease", request_id)


def waiting(model: str) -> str:
    """Sorted set of waiting request ids: the queue of a model, the best first."""
    return _key("waiting", model)


def arrivals() -> str:
    """Counter of submitted requests: a request keeps its value, and the lower one goes first."""
    return _key("arrivals")


def live() -> str:
    """Set of request ids that wait or run."""
    return _key("live")


def ended() -> str:
    """Set of request ids whose terminal entry is written and not yet stored."""
    return _key("ended")


def cancellations(worker: str) -> str:
    """List of request ids that this worker is to cancel."""
    return _key("cancel", worker)


def worker(name: str) -> str:
    """String: the worker's snapshot; expires when it is silent."""
    return _key("worker", name)


def workers() -> str:
    """Set of the names of workers that have reported."""
    return _key("workers")


def probe() -> str:
    """String that is written to see whether Redis takes writes."""
    return _key("probe")


def lock(name: str) -> str:
    return _key("lock", name)


def wake(hub: str) -> str:
    """Stream that ends a hub's blocking read when it is to follow something new."""
    return _key("wake", hub)
