"""`fidelity`: what each dtype changes, against float32 over a fixed text; kept with the model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from inference.command.session import DTYPES, CommandError, find_model, print_status
from inference.text import DEFAULT_SLUG, load_text


def add_parser(commands: Any) -> None:
    """Add the `fidelity` command and its options."""
    parser = commands.add_parser("fidelity", help="what a dtype changes", description=__doc__)
    parser.add_argument(
        "--model", default=DEFAULT_SLUG, help="a slug under var/models, or a folder"
    )
    parser.add_argument("--dtypes", default="bfloat16,int8,int4")
    parser.add_argument("--backend", default="auto", help="auto, torch, native, cuda")
    parser.add_argument("--json", action="store_true", help="one JSON object per dtype")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure each dtype, print a line and keep the figures. Raises CommandError."""
    from inference.models import dtype_fidelity as fidelity

    folder = find_model(options.model)
    tokens = load_text(folder).encode(fidelity.TEXT, add_special_tokens=True)
    reference = _logits(folder, tokens, dtype="float32", backend="auto")
    for name in options.dtypes.split(","):
        dtype = DTYPES.get(name, name)
        found = fidelity.compare(
            reference, _logits(folder, tokens, dtype=dtype, backend=options.backend)
        )
        fidelity.keep(folder, dtype, found)
        if options.json:
            line = {"model": folder.name, "dtype": dtype, "mean_kl": found.mean_kl,
                    "agreement": found.agreement, "tokens": found.tokens}  # fmt: skip
            print(json.dumps(line), flush=True)
        else:
            print(
                f"{dtype:9} mean KL {found.mean_kl:.5f} nats, same first choice "
                f"{100 * found.agreement:.1f} % of {found.tokens} tokens",
                flush=True,
            )


def _logits(folder: Path, tokens: list[int], *, dtype: str, backend: str) -> Any:
    """Logits (T, V) of the text under the engine's own arithmetic for that dtype."""
    from inference.engine.backends.base import Unsupported
    from inference.engine.text_logits import logits_of

    try:
        logits, path = logits_of(folder, tokens, dtype=dtype, backend=backend)
    except (Unsupported, ValueError) as error:
        raise CommandError(str(error)) from error
    print_status(f"{dtype} by {path}")
    return logits
