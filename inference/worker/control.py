"""Remote-control commands: which model a worker holds. `ping` is Celery's own.

They answer at once; the worker's snapshots show how far the loading is.
"""

from __future__ import annotations

from typing import Any

from celery.worker.control import control_command

from inference.text import ModelFolderError
from inference.worker import lifecycle


@control_command(args=[("model", str)], signature="SLUG")  # type: ignore[untyped-decorator]
def load_model(state: Any, model: str) -> dict[str, str]:
    """Load this model, in place of another."""
    if lifecycle.runtime is None:
        return {"error": "The worker has not begun."}
    try:
        lifecycle.runtime.load(model)
    except (ModelFolderError, ValueError) as error:
        return {"error": str(error)}
    return {"ok": f"loading {model}"}


@control_command()  # type: ignore[untyped-decorator]
def unload_model(state: Any) -> dict[str, str]:
    """Unload the model."""
    if lifecycle.runtime is None:
        return {"error": "The worker has not begun."}
    lifecycle.runtime.unload()
    return {"ok": "unloading"}
