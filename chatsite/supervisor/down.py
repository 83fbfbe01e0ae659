"""Stops a site without loading one: Django and its apps take seconds on a busy machine."""

from __future__ import annotations

from pathlib import Path

from chatsite.supervisor.pidfile import stop_recorded
from inference import env

ROOT = Path(__file__).resolve().parents[2]


def down() -> str:
    """Stop the site of CHATSITE_DATA, and whatever a killed one left; what to say about it."""
    data = Path(env.text("CHATSITE_DATA") or ROOT / "var").resolve()
    return "The site is stopped." if stop_recorded(data / "run") else "Nothing was running."
