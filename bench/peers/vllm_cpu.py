"""vLLM on the CPU: `vllm_cpu.py MODEL_FOLDER bfloat16`. In one process, without prefix caching."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from protocol import Times, reserve_stdout, serve

PIPE = reserve_stdout()
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import vllm  # noqa: E402
from vllm import LLM, SamplingParams  # noqa: E402


def main(folder: str, dtype: str) -> None:
    has_text = (Path(folder) / "tokenizer.json").exists()
    llm = LLM(
        folder,
        skip_tokenizer_init=not has_text,
        dtype=dtype,
        enable_prefix_caching=False,
        max_num_seqs=32,
        max_model_len=2048,
        seed=0,
    )
    engine: Any = llm.llm_engine
    numbers = iter(range(1 << 62))

    def batch(prompts: list[list[int]], max_tokens: int) -> Times:
        params = SamplingParams(
            temperature=0, max_tokens=max_tokens, ignore_eos=True, detokenize=has_text
        )
        ids = [str(next(numbers)) for _ in prompts]
        for request_id, prompt in zip(ids, prompts, strict=True):
            engine.add_request(request_id, {"prompt_token_ids": prompt}, params)
        seen: dict[str, tuple[int, float, float]] = {}
        while engine.has_unfinished_requests():
            outputs = engine.step()
            now = time.perf_counter()
            for output in outputs:
                count = len(output.outputs[0].token_ids)
                before = seen.get(output.request_id)
                if count and (before is None or count > before[0]):
                    seen[output.request_id] = (count, before[1] if before else now, now)
        return [seen[request_id] for request_id in ids]

    serve(PIPE, f"vllm {vllm.__version__}", batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
