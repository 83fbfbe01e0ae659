"""Where model folders are, and which path may be opened as one.

A model is named by its slug, a folder under the models folder, or by the path of a folder that lies
in an allowed one. Loads nothing large: web, worker and command line all ask here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from inference import env

DEFAULT_SLUG = "smollm2-135m-instruct"
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
REPOSITORY = Path(__file__).resolve().parents[2]


class ModelFolderError(ValueError):
    """This name or path can't be a model; the text says why, for a person."""


def models_dir() -> Path:
    """The folder of model folders: CHATSITE_MODELS, or `models` in CHATSITE_DATA, or var/models."""
    if own := env.text("CHATSITE_MODELS"):
        return Path(own)
    return Path(env.text("CHATSITE_DATA") or REPOSITORY / "var") / "models"


def allowed_folders() -> tuple[Path, ...]:
    """Folders whose subfolders may be models: the models folder and CHATSITE_MODEL_FOLDERS.

    CHATSITE_MODEL_FOLDERS lists further ones, separated as in PATH.
    """
    more = env.text("CHATSITE_MODEL_FOLDERS")
    return (models_dir(), *(Path(item) for item in more.split(os.pathsep) if item))


def model_folder(name: str | Path, *, allowed: Sequence[Path] | None = None) -> Path:
    """The folder of a model, given its slug or its path, links resolved.

    `allowed` are the folders it must lie in, by default `allowed_folders()`. Raises
    ModelFolderError for a name that is neither, a folder elsewhere (also by `..` or a link), one
    that doesn't exist, or one without tokenizer and configuration.
    """
    text = str(name)
    if "\0" in text or len(text) > 4096:
        raise ModelFolderError("The model's path holds a NUL character or is too long.")
    path = models_dir() / text if SLUG.fullmatch(text) else Path(text)
    folder = path.expanduser().resolve()
    roots = [root.expanduser().resolve() for root in allowed or allowed_folders()]
    if not any(root in folder.parents for root in roots):
        listed = ", ".join(str(root) for root in roots)
        raise ModelFolderError(f"{text!r} is not a model in one of the allowed folders: {listed}.")
    if not folder.is_dir():
        raise ModelFolderError(f"There is no model folder {folder}.")
    if not any((folder / file).is_file() for file in ("config.json", "tokenizer.json")) and not any(
        folder.glob("*.gguf")
    ):
        raise ModelFolderError(
            f"{folder} has neither config.json nor tokenizer.json nor a GGUF file."
        )
    return folder
