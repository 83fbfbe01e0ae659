"""Which folders below CHATSITE_MODELS may be offered as models.

Looks at names and at config.json, never into the weights: inference.client.describe reads those.
"""

from __future__ import annotations

import json
from pathlib import Path

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from chatsite.catalog.models import slug_rule
from inference import client

WEIGHTS = ("*.safetensors", "*.gguf")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt")
MAX_CONFIG_BYTES = 1_000_000


def model_dir(slug: str) -> Path:
    """The folder of that model. Raises ValidationError, in a sentence, unless it can be served:
    directly below CHATSITE_MODELS, with safetensors or GGUF weights and no code of its own.
    """
    slug_rule(slug)
    root = client.models_dir().resolve()
    folder = (root / slug).resolve()
    if folder.parent != root or folder.name != slug:
        raise ValidationError(
            _("“%(slug)s” leads out of the models folder."), "outside", {"slug": slug}
        )
    if not folder.is_dir():
        raise ValidationError(
            _("There is no folder “%(slug)s” below CHATSITE_MODELS."), "missing", {"slug": slug}
        )
    if not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        if any(any(folder.glob(pattern)) for pattern in PICKLES):
            raise ValidationError(
                _(
                    "“%(slug)s” holds pickled weights, which can run code when they are read. "
                    "Convert them to safetensors or GGUF first."
                ),
                "pickle",
                {"slug": slug},
            )
        raise ValidationError(
            _("“%(slug)s” holds no weights (*.safetensors or *.gguf)."), "empty", {"slug": slug}
        )
    if brings_code(folder):
        raise ValidationError(
            _(
                "“%(slug)s” wants to run code of its own (auto_map in config.json); that is "
                "refused."
            ),
            "code",
            {"slug": slug},
        )
    return folder


def brings_code(folder: Path) -> bool:
    """Whether config.json asks for trust_remote_code. Raises ValidationError when it isn't JSON."""
    path = folder / "config.json"
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(MAX_CONFIG_BYTES))
    except FileNotFoundError:
        return False  # a GGUF file carries its own
    except (OSError, ValueError, RecursionError) as error:
        raise ValidationError(_("config.json cannot be read as JSON."), "config") from error
    return isinstance(config, dict) and "auto_map" in config


def served_slugs() -> list[str]:
    """The folders that can be offered, by name."""
    try:
        names = sorted(entry.name for entry in client.models_dir().iterdir() if entry.is_dir())
    except OSError:
        return []
    return [name for name in names if is_servable(name)]


def is_servable(slug: str) -> bool:
    """Whether `model_dir` accepts the folder of that name."""
    try:
        model_dir(slug)
    except ValidationError:
        return False
    return True
