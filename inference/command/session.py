"""An engine for a command: started, ready, and asked from one thread.

Hands the engine's events to its caller; prints the lines of start-up alone.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from inference import env
from inference.contract import Event, GenerationRequest, Result, SamplingParams, Stamp
from inference.models.prepare import ensure_default_model
from inference.text import DEFAULT_SLUG, ModelFolderError, model_folder, models_dir
from inference.text.folders import SLUG

if TYPE_CHECKING:  # the engine loads torch, which not every command needs
    from inference.engine.loader import ModelLoader

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
START_TIMEOUT_S = 600.0


class CommandError(Exception):
    """The command can't go on; the text is a sentence for the person who typed it."""


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command with an engine takes."""
    parser.add_argument(
        "--model", default=DEFAULT_SLUG, help="a slug under var/models, or a folder"
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16", "int8", "int4", *DTYPES],
        help="auto: what serves best on this machine",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1")
    parser.add_argument("--backend", default="auto", help="auto, torch, native, cuda")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: one per core")
    parser.add_argument(
        "--tensor-parallel",
        type=int,
        default=1,
        metavar="N",
        help="split the model over N processes, each on a GPU of its own or all on the CPU",
    )


def find_model(name: str) -> Path:
    """The folder of `--model`. Any folder may be named: the caller has a shell."""
    try:
        if name == DEFAULT_SLUG:
            return ensure_default_model(print_status)
        if not SLUG.fullmatch(name) or not (models_dir() / name).is_dir():
            parent = str(Path(name).expanduser().resolve().parent)
            known = env.text("CHATSITE_MODEL_FOLDERS")
            os.environ["CHATSITE_MODEL_FOLDERS"] = (
                os.pathsep.join((known, parent)) if known else parent
            )
            return model_folder(Path(name).expanduser().resolve())
        return model_folder(name)
    except (ModelFolderError, RuntimeError) as error:
        raise CommandError(str(error)) from error


def print_status(line: str) -> None:
    """Write a line for the person at the terminal, apart from the output: to standard error."""
    print(line, file=sys.stderr, flush=True)


class Session:
    """A running engine of one model, as a context manager. CommandError if it can't start.

    `loader` reads another model than the folder's.
    """

    def __init__(
        self,
        folder: Path,
        options: argparse.Namespace,
        *,
        prefix_cache: bool = True,
        max_running: int = 32,
        kv_cache_bytes: int | None = None,
        loader: ModelLoader | None = None,
    ) -> None:
        from inference.engine.config import EngineConfig
        from inference.engine.engine import Engine

        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.model = folder.name
        try:
            config = EngineConfig(
                model_dir=folder,
                dtype=DTYPES.get(options.dtype, options.dtype),
                device=options.device,
                backend=options.backend,
                threads=options.threads,
                tensor_parallel=options.tensor_parallel,
                prefix_cache=prefix_cache,
                max_running=max_running,
                kv_cache_bytes=kv_cache_bytes,
                worker="command",
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.engine = Engine(config, emit=self._take, loader=loader)

    def __enter__(self) -> Self:
        begin = time.monotonic()
        self.engine.start()
        while (status := self.engine.status()).state not in ("ready", "failed"):
            if time.monotonic() - begin > START_TIMEOUT_S:
                raise CommandError(f"The engine was not ready after {START_TIMEOUT_S:.0f} s.")
            time.sleep(0.01)
        if status.state == "failed":
            raise CommandError(f"The model can't be served: {status.state_detail}")
        seconds = time.monotonic() - begin
        print_status(f"{self.model} in {status.dtype} by {status.path}, ready in {seconds:.1f} s.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.engine.stop(timeout_s=30)

    def submit(self, token_ids: Sequence[int], sampling: SamplingParams) -> str:
        """Ask for one answer; returns the request's id."""
        request_id = uuid.uuid4().hex
        self.engine.submit(
            GenerationRequest(
                request_id=request_id,
                model=self.model,
                prompt_token_ids=tuple(token_ids),
                sampling=sampling.with_seed(),
                received=Stamp.now(),
            )
        )
        return request_id

    def events(self) -> Iterator[Event]:
        """What the engine emits, in order, until the caller has enough."""
        while True:
            yield self._events.get()

    def results(self, count: int) -> dict[str, Result]:
        """Wait for the Results of this many requests; other events are dropped."""
        found: dict[str, Result] = {}
        for event in self.events():
            if isinstance(event, Result):
                found[event.request_id] = event
                if len(found) == count:
                    break
        return found

    def _take(self, events: list[Event]) -> None:
        for event in events:
            self._events.put(event)
