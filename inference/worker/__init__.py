"""The Celery app of the transformer side: `celery -A inference.worker worker -Q model.<slug>`."""

import os

# Before numpy is imported: its BLAS starts its threads then, and a process that has threads can't
# be forked (fork_server.py). Nothing here multiplies matrices by it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from inference.worker.app import app

__all__ = ["app"]
