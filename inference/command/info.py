"""`info`: what a model is made of, from its headers; nothing is loaded."""

from __future__ import annotations

import argparse
import json
from typing import Any

from inference.command.session import CommandError, find_model
from inference.models.describe import describe
from inference.text import DEFAULT_SLUG, ModelFolderError, load_text


def add_parser(commands: Any) -> None:
    """Add the `info` command and its options."""
    parser = commands.add_parser("info", help="what a model is made of", description=__doc__)
    parser.add_argument(
        "--model", default=DEFAULT_SLUG, help="a slug under var/models, or a folder"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what the headers say. Raises CommandError."""
    folder = find_model(options.model)
    try:
        found = {"model": folder.name, **describe(folder)}
    except (ValueError, OSError) as error:
        raise CommandError(str(error)) from error
    try:
        text = load_text(folder)
        found["end_tokens"] = {token: text.vocabulary.token(token) for token in text.eos_token_ids}
        found["chat_template"] = text.has_chat_template
    except ModelFolderError as error:
        found["chat_template"] = False
        found["tokenizer"] = str(error)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        label = name.replace("_", " ")
        if isinstance(value, dict):
            print(f"{label}:")
            for part, inner in value.items():
                print(f"    {str(part).replace('_', ' '):22} {_written(inner):>16}")
        else:
            print(f"{label:26} {_written(value):>16}")


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
