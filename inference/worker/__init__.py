"""The Celery app of the transformer side: `celery -A inference.worker worker -Q model.<slug>`."""

from inference.worker.app import app

__all__ = ["app"]
