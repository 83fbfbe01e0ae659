"""What the engine can do without: it also runs on machines that only measure it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
for name in ("django", "channels", "daphne", "celery", "kombu", "redis", "msgspec", "pydantic"):
    sys.modules[name] = None  # importing it raises
import inference.command.session, inference.engine.engine, inference.engine.text_logits
import inference.engine.backends.cuda_backend, inference.engine.native.dtype_choice
import inference.engine.parallel.rank_worker
"""


def test_the_engine_needs_no_package_of_the_site() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
