"""Names of everything this project keeps in Redis."""

from __future__ import annotations

from inference.queue.connection import settings


def _key(*parts: str) -> str:
    return ":".join((settings().prefix, *parts))


def request(request_id: str) -> str:
    """Hash: state, attempt, model, wire, worker, next, losses, score, cancelled and times in ms."""
    return _key("req", request_id)


def stream(request_id: str) -> str:
    """Stream of the request's events."""
    return _key("gen", request_id)


def lease(request_id: str) -> str:
    """String: the attempt that runs; expires unless its worker refreshes it."""
    return _key("lease", request_id)


def waiting(model: str) -> str:
    """Sorted set of waiting request ids; the order in line."""
    return _key("waiting", model)


def live() -> str:
    """Set of request ids that wait or run."""
    return _key("live")


def ended() -> str:
    """Set of request ids whose terminal entry is written and not yet stored."""
    return _key("ended")


def orders(worker: str) -> str:
    """List of orders (cancel) to one worker."""
    return _key("orders", worker)


def worker(name: str) -> str:
    """String: the worker's snapshot; expires when it is silent."""
    return _key("worker", name)


def workers() -> str:
    """Set of worker names ever seen lately."""
    return _key("workers")


def lock(name: str) -> str:
    return _key("lock", name)


def wake(hub: str) -> str:
    """Stream that ends a hub's blocking read when it wants to follow something new."""
    return _key("wake", hub)
