"""transformers: `hf.py MODEL_FOLDER generate|continuous float32|bfloat16`.

`generate` pads a batch's prompts on the left and runs them together; `continuous` is
transformers' own continuous batching over pages, without sharing of prefixes.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from protocol import Batch, Times, reserve_stdout, serve

PIPE = reserve_stdout()

import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    GenerationConfig,
    StoppingCriteria,
    StoppingCriteriaList,
)


class Clock(StoppingCriteria):
    """Notes when each token of the batch is there; never stops anything."""

    def __init__(self) -> None:
        self.readings: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        if input_ids.is_cuda:
            torch.cuda.synchronize()
        self.readings.append(time.perf_counter())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def generate(model: Any) -> Batch:
    def batch(prompts: list[list[int]], max_tokens: int) -> Times:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts], device=model.device)
        mask = torch.tensor(
            [[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device
        )
        clock = Clock()
        # An end token of None, because min_new_tokens would change the distribution.
        config = GenerationConfig(
            do_sample=False, max_new_tokens=max_tokens, eos_token_id=None, pad_token_id=0
        )
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=mask,
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([clock]),
            )
        return [(len(clock.readings), clock.readings[0], clock.readings[-1]) for _ in prompts]

    return batch


def continuous(model: Any, **pages: int) -> Batch:
    """`pages` are num_blocks and max_batch_tokens; transformers chooses what isn't given."""
    from transformers import ContinuousBatchingConfig

    config = GenerationConfig(do_sample=False, max_new_tokens=64, eos_token_id=-1, pad_token_id=0)
    manager = model.init_continuous_batching(
        generation_config=config,
        continuous_batching_config=ContinuousBatchingConfig(allow_block_sharing=False, **pages),
    )
    manager.start()

    def batch(prompts: list[list[int]], max_tokens: int) -> Times:
        ids = manager.add_requests(
            inputs=prompts, max_new_tokens=max_tokens, record_timestamps=True
        )
        found: dict[str, Any] = {}
        while len(found) < len(ids):
            result = manager.get_result(timeout=1)
            if result is not None and result.is_finished():
                if result.error:
                    raise RuntimeError(result.error)
                found[result.request_id] = result.timestamps
            elif result is None and not manager.is_running():
                raise RuntimeError("transformers' continuous batching has stopped")
        return [(len(found[i]), found[i][0], found[i][-1]) for i in ids]

    return batch


def main(folder: str, way: str, dtype: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), local_files_only=True
    ).eval()
    if way == "generate":
        batch = generate(model)
    else:
        batch = continuous(model, num_blocks=96, max_batch_tokens=512)
    serve(PIPE, f"torch {torch.__version__}", batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
