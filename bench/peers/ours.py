"""This engine, whole: scheduler, sampler, detokeniser. `ours.py MODEL_FOLDER DTYPE`."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.peers.protocol import Times, reserve_stdout, serve
from inference.command.bench import run_batch
from inference.command.session import Session
from inference.contract import SamplingParams


def main(folder: str, dtype: str) -> None:
    pipe = reserve_stdout()
    options = Namespace(dtype=dtype, device="auto", backend="auto", threads=0, tensor_parallel=1)
    with Session(
        Path(folder).resolve(), options, prefix_cache=False, kv_cache_bytes=1 << 30
    ) as session:

        def batch(prompts: list[list[int]], max_tokens: int) -> Times:
            sampling = SamplingParams(temperature=0, max_tokens=max_tokens, ignore_eos=True, seed=0)
            begin = time.perf_counter()
            answers = run_batch(session, prompts, sampling)
            return [
                (a.completion_tokens, begin + a.first_token_s, begin + a.last_token_s)
                for a in answers
            ]

        serve(pipe, session.engine.status().path, batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
