"""Fixtures of all tests: a real Redis, the real model, the whole site. See environment.py too.

Property tests draw the same examples in every run; `--hypothesis-profile=explore` draws new ones,
`quick` (make test-fast) fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import lanes
from tests.environment import DATA
from tests.support.page import PASSWORD, PRESETS
from tests.support.redis import RedisServer
from tests.support.stack import APP, Stack

hypothesis.settings.register_profile("same", derandomize=True)
hypothesis.settings.register_profile("quick", derandomize=True, max_examples=20)
hypothesis.settings.register_profile("explore", derandomize=False, print_blob=True)
hypothesis.settings.load_profile("same")


MARK_OF_FIXTURE = {"default_model_dir": "model", "browser": "browser"}
"""The fixtures, asked for directly or by another one, that keep a test out of `make test-fast`."""


def pytest_itemcollected(item: pytest.Item) -> None:
    for name in MARK_OF_FIXTURE.keys() & set(getattr(item, "fixturenames", ())):
        item.add_marker(MARK_OF_FIXTURE[name])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if len({item.nodeid for item in items}) < len(items):
        raise pytest.UsageError("Two tests have the same name: pytest-xdist would run one of them.")
    items.sort(key=lambda item: lanes.place(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> lanes.Lanes:
    return lanes.Lanes(config, log)


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
    with Stack(environment={"API_CORS_ORIGINS": f"{APP}/, http://localhost:3000"}) as running:
        yield running


@pytest.fixture(scope="session")
def default_bounds_stack(default_model_dir: Path) -> Iterator[Stack]:
    """A site whose parts tests stop, which recovers within the seconds that a site promises.

    tests/environment.py lengthens CHATSITE_RECOVER_WITHIN_S for all others.
    """
    with Stack(environment={"CHATSITE_RECOVER_WITHIN_S": ""}) as running:
        running.add_user("alice", password=PASSWORD)
        running.python(PRESETS)
        yield running
