"""`bench`: a file of prompts at several widths; TTFT, TPOT and tokens per second of this engine.

Prefix reuse is off, so that a prompt that comes again costs what it cost before.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.command.closed_loop import StreamResult, batches_of, figures
from inference.command.session import (
    CommandError,
    Session,
    add_engine_options,
    find_model,
    print_status,
)
from inference.contract import SamplingParams
from inference.text import TextModel, load_text

MAX_STREAMS = 1024


def add_parser(commands: Any) -> None:
    """Add the `bench` command and its options."""
    parser = commands.add_parser("bench", help="measure with your own prompts", description=__doc__)
    add_engine_options(parser)
    parser.add_argument("--streams", type=_widths, default=[1, 4, 8, 16], help="1,4,8,16")
    parser.add_argument(
        "--prompts",
        type=Path,
        required=True,
        metavar="FILE.jsonl",
        help='one {"messages": […]} or {"prompt": …} a line',
    )
    parser.add_argument("--max-tokens", type=int, default=64, help="tokens of each answer")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument(
        "--stop-at-end",
        action="store_true",
        help="let answers end at their end token, instead of after exactly max-tokens",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per width")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run every width on one engine and print a line for each. Raises CommandError."""
    folder = find_model(options.model)
    prompts = read_prompts(options.prompts, load_text(folder))
    try:
        sampling = SamplingParams(
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            ignore_eos=not options.stop_at_end,
            seed=0,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    with Session(folder, options, prefix_cache=False, max_running=max(options.streams)) as session:
        run_batch(session, prompts[:1], sampling)  # whatever a first request costs
        status = session.engine.status()
        for streams in options.streams:
            batches = [
                run_batch(session, batch, sampling) for batch in batches_of(prompts, streams)
            ]
            found = {
                "model": session.model,
                "model_revision": status.model_revision,
                "dtype": status.dtype,
                "path": status.path,
                "threads": status.threads,
                "streams": streams,
                **figures(batches),
            }
            print(json.dumps(found) if options.json else _line(found), flush=True)


def run_batch(
    session: Session, prompts: Sequence[list[int]], sampling: SamplingParams
) -> list[StreamResult]:
    """Submit these prompts together and wait for all. Raises CommandError if one fails."""
    begin = time.monotonic_ns()
    ids = [session.submit(prompt, sampling) for prompt in prompts]
    results = session.results(len(ids))
    answers = []
    for request_id in ids:
        result = results[request_id]
        if result.first_token is None or result.last_token is None:
            raise CommandError(f"A request failed: {result.error_text or result.finish_reason}")
        answers.append(
            StreamResult(
                prompt_tokens=result.prompt_tokens,
                completion_tokens=result.completion_tokens,
                first_token_s=(result.first_token.mono_ns - begin) / 1e9,
                last_token_s=(result.last_token.mono_ns - begin) / 1e9,
            )
        )
    return answers


def read_prompts(path: Path, text: TextModel) -> list[list[int]]:
    """The file's prompts as tokens. Raises CommandError naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} can't be read: {error}") from error
    prompts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            prompts.append(_prompt(json.loads(line), text))
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path}, line {number}: {error}") from error
    if not prompts:
        raise CommandError(f"{path} holds no prompts.")
    print_status(
        f"{len(prompts)} prompts of {min(map(len, prompts))} to {max(map(len, prompts))} tokens."
    )
    return prompts


def _prompt(entry: Any, text: TextModel) -> list[int]:
    if not isinstance(entry, dict) or ("messages" in entry) == ("prompt" in entry):
        raise ValueError('a line must be an object with either "messages" or "prompt"')
    if "prompt" in entry:
        if not isinstance(entry["prompt"], str):
            raise ValueError('"prompt" must be text')
        return text.encode(entry["prompt"], add_special_tokens=True)
    messages = entry["messages"]
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise ValueError('"messages" must be a list of objects with "role" and "content"')
    return text.render(messages)


def _widths(given: str) -> list[int]:
    try:
        widths = [int(item) for item in given.split(",")]
    except ValueError:
        widths = []
    if not widths or not all(1 <= width <= MAX_STREAMS for width in widths):
        raise argparse.ArgumentTypeError(
            f"must be numbers from 1 to {MAX_STREAMS}, as in 1,4,8,16, not {given!r}"
        )
    return widths


def _line(found: dict[str, Any]) -> str:
    ttft, tpot = found["ttft_ms"], found["tpot_ms"]
    return (
        f"{found['streams']:>4} streams  TTFT p50 {_ms(ttft['p50'])} p99 {_ms(ttft['p99'])}  "
        f"TPOT p50 {_ms(tpot['p50'])} p99 {_ms(tpot['p99'])}  "
        f"{found['tokens_per_s']:>8} tokens/s with prefill  "
        f"({found['prompt_tokens']} prompt, {found['completion_tokens']} completion tokens)"
    )


def _ms(value: float | None) -> str:
    return "      –" if value is None else f"{value:7.1f} ms"
