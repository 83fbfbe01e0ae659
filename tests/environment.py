"""A pytest plugin that comes before everything: each run has its own data folder and Redis.

Django's settings are read before any conftest.py is, so the environment must be set here
(`-p tests.environment` in pyproject.toml).
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(tempfile.mkdtemp(prefix="chatsite-test-"))
atexit.register(shutil.rmtree, DATA, ignore_errors=True)

os.environ["CHATSITE_DATA"] = str(DATA)
os.environ["REDIS_URL"] = f"unix://{DATA}/redis/redis.sock?db=0"
os.environ.setdefault("CHATSITE_MODELS", str(ROOT / "var" / "models"))
os.environ.setdefault("CHATSITE_KERNELS", str(ROOT / "var" / "kernels"))  # built once for all runs
os.environ.setdefault("CHATSITE_STATIC", str(ROOT / "var" / "static"))  # compressed once likewise
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's loop runs beside the ORM
os.environ.setdefault("CHATSITE_RECOVER_WITHIN_S", "120")  # a busy machine starts slowly
os.environ.setdefault("OMP_NUM_THREADS", "1")  # test processes share the cores
# Threads that spin at a barrier while other processes want the core make a step take seconds.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
