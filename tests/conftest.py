"""What all tests share. Each run has its own data folder and its own Redis; the model is real.

Environment comes first: Django's settings and the streams' settings are read once, at import.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(tempfile.mkdtemp(prefix="chatsite-test-"))
atexit.register(shutil.rmtree, DATA, ignore_errors=True)

os.environ["CHATSITE_MODELS"] = os.environ.get("CHATSITE_MODELS") or str(ROOT / "var" / "models")
os.environ["CHATSITE_DATA"] = str(DATA)
os.environ["REDIS_URL"] = f"unix://{DATA}/redis/redis.sock?db=0"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's loop runs beside the ORM
os.environ.setdefault("OMP_NUM_THREADS", "1")  # test processes share the cores

import pytest  # noqa: E402

from tests.support.redis import RedisServer  # noqa: E402
from tests.support.stack import Stack  # noqa: E402


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The run's Redis, at REDIS_URL; fault tests stop and start it."""
    server = RedisServer(DATA / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def live_redis(redis_server: RedisServer) -> RedisServer:
    """The run's Redis, running and empty."""
    redis_server.start()
    redis_server.client().flushall()
    return redis_server


@pytest.fixture(scope="session")
def default_model_dir() -> Path:
    """The default model's folder, converted at the first run."""
    from inference.models.prepare import ensure_default_model

    return ensure_default_model()


@pytest.fixture(scope="session")
def stack(default_model_dir: Path) -> Iterator[Stack]:
    """The whole site as processes with a Redis of its own, for everybody who drives it by HTTP."""
    with Stack() as running:
        yield running
