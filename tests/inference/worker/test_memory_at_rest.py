"""What a process that serves the default model holds when nobody asks it anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.engine.backends.base import Unsupported
from inference.engine.native.native_backend import NativeBackend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

MB = 1 << 20
SERVE = """
import json, sys, time
from pathlib import Path
from inference.engine.config import EngineConfig
from inference.engine.engine import Engine

engine = Engine(EngineConfig(model_dir=Path(sys.argv[1]), dtype="int4"), emit=lambda events: None)
engine.start()
while engine.status().state not in ("ready", "failed"):
    time.sleep(0.05)
stats = engine.status()
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
held = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
cache = stats.kv_blocks_total * stats.kv_block_tokens
print(json.dumps({"held": held, "cache_tokens": cache, "notes": stats.notes}))
engine.stop()
"""


def serve(folder: Path) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(folder)],
        env={**os.environ, "CHATSITE_PACKED_WEIGHTS": "auto"},
        capture_output=True,
        text=True,
        timeout=170,
        check=True,
    )
    found: dict[str, dict[str, int]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.timeout(360)
def test_a_worker_at_rest_holds_less_than_a_gigabyte_at_every_start(default_model_dir) -> None:
    """The first start, which may have packed the weights, and one that only maps them."""
    try:
        NativeBackend(dtype="int4")
    except Unsupported as error:
        pytest.skip(str(error))
    for _ in range(2):
        found = serve(default_model_dir)
        assert found["held"]["Rss"] < 1000 * MB, found
        assert found["cache_tokens"] > 100_000 or found["held"]["Rss"] < 800 * MB
    assert "packed by an earlier start" in " ".join(found["notes"])
    assert found["held"]["Pss_Anon"] < 600 * MB, "the weights are shared, the cache comes with use"
