"""Remote-control commands: which model a worker holds. `ping` is Celery's own.

They answer at once; how far the loading is, the worker's snapshots tell.
"""

from __future__ import annotations

from typing import Any

from celery.worker.control import control_command

from inference.text import ModelFolderError
from inference.worker import lifecycle as life


@control_command(args=[("model", str)], signature="SLUG")  # type: ignore[untyped-decorator]
def load_model(state: Any, model: str) -> dict[str, str]:
    """Hold this model, in place of another."""
    if life.slot is None:
        return {"error": "The worker has not begun."}
    try:
        life.slot.load(model)
    except (ModelFolderError, ValueError) as error:
        return {"error": str(error)}
    return {"ok": f"loading {model}"}


@control_command()  # type: ignore[untyped-decorator]
def unload_model(state: Any) -> dict[str, str]:
    """Hold no model."""
    if life.slot is None:
        return {"error": "The worker has not begun."}
    life.slot.unload()
    return {"ok": "unloading"}
