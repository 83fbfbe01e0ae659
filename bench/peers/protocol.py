"""How bench/engine.py talks with an engine's process: one JSON line each way per batch.

In: {"prompts": [[token ids]…], "max_tokens": n}. Out: one [completion tokens, first token, last
token] per prompt, times in seconds since the batch was read. Standard library alone, because every
peer has an environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

Times = list[tuple[int, float, float]]
"""Per prompt: completion tokens, and the clock's readings at the first and the last of them."""

Batch = Callable[[list[list[int]], int], Times]


def reserve_stdout() -> int:
    """Keep the pipe to the parent for ourselves; whatever a library prints goes to stderr."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    return pipe


def serve(pipe: int, name: str, batch: Batch) -> None:
    """Announce `name`, then run batches until the parent closes the pipe."""
    with os.fdopen(pipe, "w") as out:
        print(json.dumps({"name": name}), file=out, flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            begin = time.perf_counter()
            times = batch(request["prompts"], request["max_tokens"])
            answer = [[count, first - begin, last - begin] for count, first, last in times]
            print(json.dumps(answer), file=out, flush=True)
