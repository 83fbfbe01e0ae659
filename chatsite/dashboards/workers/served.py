"""Which of the models that people may choose no worker serves at this moment."""

from __future__ import annotations

from chatsite.catalog.models import LanguageModel
from chatsite.catalog.worker_status import Workers, workers
from inference.contract import WorkerState

SERVING = (WorkerState.LOADING, WorkerState.WARMING, WorkerState.READY)


def unserved_models(seen: Workers | None = None) -> list[LanguageModel]:
    """Enabled models that no reporting worker has or is loading; none while nothing is known."""
    seen = workers() if seen is None else seen
    if seen.problem:
        return []
    served = {
        row.snapshot.model
        for row in seen.rows
        if not row.is_stale and row.snapshot.engine.state in SERVING
    }
    enabled = LanguageModel.objects.filter(is_enabled=True).order_by("name")
    return [model for model in enabled if model.slug not in served]
