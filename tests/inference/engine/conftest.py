"""A real engine on small random models: fast enough for every test, checked against generate."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from inference.contract import (
    Delta,
    Event,
    GenerationRequest,
    Progress,
    Result,
    SamplingParams,
    Stamp,
)
from inference.engine.config import EngineConfig
from inference.engine.engine import Engine
from inference.engine.loader import ModelLoader, TextArtifacts

torch.set_num_threads(1)

SMALL = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def small_model(kind: str = "llama", **changes: Any) -> Any:
    """A random decoder of that family whose greedy answers differ from token to token."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **changes})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embed" not in name:
                torch.nn.init.normal_(parameter, std=0.15)
            if "sink" in name:
                torch.nn.init.normal_(parameter, std=1.0)
    model.generation_config.eos_token_id = None
    return model


@torch.no_grad()
def generate(model: Any, prompt: Sequence[int], max_tokens: int) -> list[int]:
    """What transformers itself answers, greedily."""
    ids = torch.tensor([list(prompt)])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False
    )
    return [int(token) for token in out[0, len(prompt) :]]


class LetterDetokenizer:
    """Token n is the letter n modulo 26; knows stop strings well enough for the engine's part."""

    def __init__(self, sampling: SamplingParams) -> None:
        self.stop = sampling.stop
        self.stopped: str | None = None
        self.text = ""
        self.sent = 0

    def feed(self, token_id: int) -> str:
        self.text += chr(97 + token_id % 26)
        for stop in self.stop:
            at = self.text.find(stop)
            if at >= 0:
                self.stopped, self.text = stop, self.text[:at]
                return self._release(0)
        return self._release(max((len(stop) for stop in self.stop), default=1) - 1)

    def finish(self) -> str:
        return self._release(0)

    def _release(self, hold: int) -> str:
        end = max(self.sent, len(self.text) - hold)
        text, self.sent = self.text[self.sent : end], end
        return text


class Listener:
    """Collects events, and waits for Results."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.batches: list[list[Event]] = []
        self._changed = threading.Condition()

    def __call__(self, events: list[Event]) -> None:
        with self._changed:
            self.events += events
            self.batches.append(events)
            self._changed.notify_all()

    def wait(self, ready: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not (found := ready()):
                assert time.monotonic() < deadline, "nothing came in time"
                self._changed.wait(0.05)  # not all that is waited for comes with an event
            return found

    def results(self) -> dict[str, Result]:
        return {e.request_id: e for e in self.events if isinstance(e, Result)}

    def result(self, request_id: str) -> Result:
        found: Result = self.wait(lambda: self.results().get(request_id))
        return found

    def deltas(self, request_id: str) -> list[Delta]:
        return [e for e in self.events if isinstance(e, Delta) and e.request_id == request_id]

    def progress(self, request_id: str) -> list[Progress]:
        return [e for e in self.events if isinstance(e, Progress) and e.request_id == request_id]

    def tokens(self, request_id: str) -> list[int]:
        self.result(request_id)
        return [token for delta in self.deltas(request_id) for token in delta.token_ids]

    def text(self, request_id: str) -> str:
        result = self.result(request_id)
        text = ""
        for delta in self.deltas(request_id):
            text = text[: delta.text_offset] + delta.text
        return text[: result.text_offset] + result.text_tail


class Bench:
    """An engine, its listener, and a short way to ask it."""

    def __init__(
        self,
        model: Any,
        *,
        text: bool = True,
        eos: Sequence[int] = (),
        loader: ModelLoader | None = None,
        **config: Any,
    ):
        self.listener = Listener()
        side = TextArtifacts(
            eos_token_ids=frozenset(eos), make_detokenizer=LetterDetokenizer if text else None
        )
        settings: dict[str, Any] = {
            "model_dir": Path(),
            "dtype": "float32",
            "device": "cpu",
            "threads": 1,
            "measure": False,
            "kv_cache_bytes": 64 << 20,
        }
        self.engine = Engine(
            EngineConfig(**{**settings, **config}),
            emit=self.listener,
            loader=loader or ModelLoader(lambda *_: copy.deepcopy(model), lambda: side),
        )
        self.engine.start()
        self._count = 0

    def ask(self, prompt: Sequence[int], **options: Any) -> str:
        """Submit; returns the request id. Options are those of the request or its sampling."""
        self._count += 1
        names = set(GenerationRequest.__dataclass_fields__)
        request = {k: v for k, v in options.items() if k in names}
        sampling = {"temperature": 0.0, "max_tokens": 16}
        sampling |= {k: v for k, v in options.items() if k not in names}
        request_id = request.pop("request_id", f"r{self._count}")
        self.engine.submit(
            GenerationRequest(
                request_id=request_id,
                model="small",
                prompt_token_ids=tuple(prompt),
                sampling=SamplingParams(**sampling).with_seed(),
                received=Stamp.now(),
                **request,
            )
        )
        return request_id

    def answer(self, prompt: Sequence[int], **options: Any) -> list[int]:
        return self.listener.tokens(self.ask(prompt, **options))


@pytest.fixture(scope="session")
def llama() -> Any:
    return small_model()


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Make engines; they are stopped when the test ends."""
    made: list[Bench] = []

    def make(model: Any, **config: Any) -> Bench:
        made.append(Bench(model, **config))
        return made[-1]

    yield make
    for one in made:
        assert one.engine.stop(10.0)


def prompt_of(length: int, seed: int = 1) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 500, (length,), generator=generator).tolist()
