"""`chat`: a conversation in the terminal, with what each answer took. Ctrl-C stops an answer."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from inference.command.session import (
    CommandError,
    Session,
    add_engine_options,
    find_model,
    print_status,
)
from inference.contract import Delta, Result, SamplingParams
from inference.text import PromptTooLong, TextModel, load_text


def add_parser(commands: Any) -> None:
    """Add the `chat` command and its options."""
    parser = commands.add_parser("chat", help="talk in the terminal", description=__doc__)
    add_engine_options(parser)
    parser.add_argument("--system", default="", help="a system prompt")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--top-p", type=float, default=0.9)
    parser.add_argument("--repetition-penalty", type=float, default=1.1)
    parser.add_argument("--seed", type=int, default=None)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Talk until the input ends. Raises CommandError."""
    folder = find_model(options.model)
    text = load_text(folder)
    if not text.has_chat_template:
        raise CommandError(f"{folder.name} has no chat template.")
    try:
        sampling = SamplingParams(
            temperature=options.temperature,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
            max_tokens=options.max_tokens,
            seed=options.seed,
        )
    except ValueError as error:
        raise CommandError(str(error)) from error
    messages = [{"role": "system", "content": options.system}] if options.system else []
    with Session(folder, options) as session:
        print_status("Write a line; Ctrl-D ends.")
        while (line := _read()) is not None:
            if not line.strip():
                continue
            messages.append({"role": "user", "content": line})
            answer = _answer(session, text, messages, sampling)
            if answer is None:
                messages.pop()
            else:
                messages.append({"role": "assistant", "content": answer})


def _read() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        return None


def _answer(
    session: Session, text: TextModel, messages: list[dict[str, str]], sampling: SamplingParams
) -> str | None:
    """Print one answer as it comes. None if it couldn't be made."""
    try:
        fitted = text.fit(messages, max_tokens=sampling.max_tokens)
    except PromptTooLong as error:
        print_status(str(error))
        return None
    if fitted.trimmed_messages:
        print_status(
            f"(the {fitted.trimmed_messages} oldest messages no longer fit and are left out)"
        )
    request_id = session.submit(fitted.token_ids, sampling)
    parts: list[str] = []
    events = session.events()
    while True:
        try:
            event = next(events)
        except KeyboardInterrupt:
            session.engine.cancel(request_id)
            events = session.events()  # the interrupt has ended the other one
            continue
        if isinstance(event, Delta):
            parts.append(event.text)
            print(event.text, end="", flush=True)
        elif isinstance(event, Result):
            parts.append(event.text_tail)
            print(event.text_tail, flush=True)
            print_status(_summary(event))
            return None if event.finish_reason == "failed" else "".join(parts)


def _summary(result: Result) -> str:
    """The quiet line under an answer."""
    if result.finish_reason == "failed":
        return f"failed: {result.error_text}"
    tokens = result.completion_tokens
    line = f"[{result.finish_reason} · {result.prompt_tokens} + {tokens} tokens"
    if result.started and result.first_token and result.last_token:
        ttft_ms = (result.first_token.mono_ns - result.started.mono_ns) / 1e6
        line += f" · TTFT {ttft_ms:.0f} ms"
        if tokens > 1 and result.last_token.mono_ns > result.first_token.mono_ns:
            tpot_ms = (result.last_token.mono_ns - result.first_token.mono_ns) / 1e6 / (tokens - 1)
            line += f" · {tpot_ms:.1f} ms/token · {1000 / tpot_ms:.0f} tokens/s"
    return line + "]"
