"""`fidelity`: what each dtype changes, against float32 over a fixed text; kept with the model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.command.session import DTYPES, CommandError, find_model, say
from inference.text import DEFAULT_SLUG, load_text

if TYPE_CHECKING:
    from torch import Tensor


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("fidelity", help="what a dtype changes", description=__doc__)
    parser.add_argument(
        "--model", default=DEFAULT_SLUG, help="a slug under var/models, or a folder"
    )
    parser.add_argument("--dtypes", default="bfloat16,int8,int4")
    parser.add_argument("--backend", default="auto", help="auto, torch, native, cuda")
    parser.add_argument("--json", action="store_true", help="one JSON object per dtype")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from inference.models import fidelity

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


def _logits(folder: Path, tokens: list[int], *, dtype: str, backend: str) -> Tensor:
    """Logits (T, V) of the text under the engine's own arithmetic for that dtype."""
    import torch

    from inference.contract import GenerationRequest, SamplingParams, Stamp
    from inference.engine.backend import Unsupported
    from inference.engine.config import EngineConfig
    from inference.engine.loading import folder_source
    from inference.engine.model_runner import ModelRunner
    from inference.engine.request import ActiveRequest
    from inference.engine.scheduler import Scheduled

    try:
        config = EngineConfig(
            model_dir=folder, dtype=dtype, backend=backend, measure=False, warm_up=False,
            kv_cache_bytes=256 << 20,
        )  # fmt: skip
        runner = ModelRunner(config, load=folder_source(folder).load_model)
    except (Unsupported, ValueError) as error:
        raise CommandError(str(error)) from error
    if runner.dtype != dtype:
        raise CommandError(f"{dtype} can't be served here: {'; '.join(runner.backend.notes)}")
    say(f"{dtype} by {runner.backend.name}")
    request = GenerationRequest(
        request_id="fidelity",
        model=folder.name,
        prompt_token_ids=tuple(tokens),
        sampling=SamplingParams(),
        received=Stamp.now(),
        echo_logprobs=0,  # asks for the logits of every prompt token
    )
    size = runner.backend.block_tokens
    active = ActiveRequest(
        request=request,
        token_ids=list(tokens),
        arrival=0,
        seed=0,
        started=Stamp.now(),
        blocks=list(range(1, 2 + len(tokens) // size)),
    )
    with torch.no_grad():
        return runner.step([Scheduled(active, len(tokens), True)]).cpu()
