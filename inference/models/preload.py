"""Reads what loading a model needs beside its weights, in a process that is yet to be forked.

Runs no operation of torch: its threads would be missing in the copy.
"""

from __future__ import annotations

import json

from inference.text import load_text, model_folder


def import_class_of(model: str) -> None:
    """Import transformers' class of this model and read its vocabulary.

    Raises what transformers raises, and ModelFolderError; code that a folder brings isn't run.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = model_folder(model)
    if "auto_map" not in json.loads((folder / "config.json").read_text()):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        classes = AutoModelForCausalLM._model_mapping  # looking a class up imports its module
        classes[type(config)]
    load_text(folder)
