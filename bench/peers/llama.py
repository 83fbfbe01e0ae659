"""llama.cpp: `llama.py GGUF FOLDER [Q4_0|Q8_0|BF16]`; given a format, it requantises into FOLDER.

Calls the library's own decode loop: each turn one batch holds the next token of every stream and as
many prompt tokens as fit, as its server does. Greedy by the library's sampler; nothing is turned
into text, which is a little less work than the others do.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from protocol import Times, reserve_stdout, serve

PIPE = reserve_stdout()

import llama_cpp as ll  # noqa: E402

STREAMS, BATCH, CONTEXT = 32, 2048, 32 * 512
FTYPES = {
    "Q4_0": ll.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q8_0": ll.LLAMA_FTYPE_MOSTLY_Q8_0,
    "BF16": ll.LLAMA_FTYPE_MOSTLY_BF16,
}


def requantised(gguf: Path, kind: str, folder: Path) -> Path:
    """The file in another format. Quantised weights lose twice: for speed figures, not quality."""
    path = folder / f"{gguf.stem}-requantised-{kind}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        params = ll.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize, params.nthread = FTYPES[kind], True, cores()
        beside = path.with_suffix(".part")
        if ll.llama_model_quantize(str(gguf).encode(), str(beside).encode(), params):
            raise RuntimeError(f"llama.cpp could not write {path}")
        beside.rename(path)
    return path


def cores() -> int:
    return len(os.sched_getaffinity(0))


class Llama:
    """One loaded file and a context for STREAMS sequences."""

    def __init__(self, path: Path, *, unified: bool) -> None:
        ll.llama_backend_init()
        self.model = ll.llama_model_load_from_file(
            str(path).encode(), ll.llama_model_default_params()
        )
        params = ll.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = CONTEXT, BATCH, 512
        params.n_seq_max = STREAMS
        params.n_threads = params.n_threads_batch = cores()
        params.kv_unified, params.no_perf = unified, True
        self.context = ll.llama_init_from_model(self.model, params)
        self.sampler = ll.llama_sampler_init_greedy()
        self._batch = ll.llama_batch_init(BATCH, 0, 1)

    def batch(self, prompts: list[list[int]], max_tokens: int) -> Times:
        memory = ll.llama_get_memory(self.context)
        for stream in range(STREAMS):
            ll.llama_memory_seq_rm(memory, stream, -1, -1)
        done = [0] * len(prompts)  # prompt tokens that went in
        answers: list[list[int]] = [[] for _ in prompts]
        stamps: list[list[float]] = [[] for _ in prompts]
        while any(len(answer) < max_tokens for answer in answers):
            self._batch.n_tokens = 0
            asked: list[tuple[int, int]] = []  # place in the batch, stream
            for stream, answer in enumerate(answers):
                if answer and len(answer) < max_tokens:
                    position = len(prompts[stream]) + len(answer) - 1
                    asked.append((self._add(answer[-1], position, stream, True), stream))
            for stream, prompt in enumerate(prompts):
                while done[stream] < len(prompt) and self._batch.n_tokens < BATCH:
                    at, last = done[stream], done[stream] == len(prompt) - 1
                    place = self._add(prompt[at], at, stream, last)
                    done[stream] += 1
                    if last:
                        asked.append((place, stream))
            if ll.llama_decode(self.context, self._batch):
                raise RuntimeError("llama_decode failed")
            for place, stream in asked:
                answers[stream].append(ll.llama_sampler_sample(self.sampler, self.context, place))
            now = time.perf_counter()
            for _, stream in asked:
                stamps[stream].append(now)
        return [(len(times), times[0], times[-1]) for times in stamps]

    def _add(self, token: int, position: int, stream: int, wants_logits: bool) -> int:
        batch, place = self._batch, self._batch.n_tokens
        batch.token[place], batch.pos[place] = token, position
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, stream
        batch.logits[place] = wants_logits
        batch.n_tokens += 1
        return place


def main(file: str, folder: str, kind: str = "") -> None:
    path = requantised(Path(file), kind, Path(folder)) if kind else Path(file)
    llama = Llama(path, unified=os.environ.get("LLAMA_UNIFIED") == "1")
    serve(PIPE, f"llama-cpp-python {ll.__version__}", llama.batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
