"""Which tests run side by side: `pytest -n 3` makes three lanes, for many tests only wait.

Each lane is a process with a data folder and a Redis of its own (environment.py). No file is divided
between lanes, and neither are these groups, which come first because they are the longest:

- faults: they are measured in seconds, so they never run beside each other;
- one site: all that drive it, so that it is started once;
- supervisor: each test starts a whole site, which two should not do at once;
- database: Django's tests, in the order that they need.
"""

from __future__ import annotations

from typing import Any

from xdist.scheduler import LoadScopeScheduling

GROUPS = {
    # The first two share a site, and stop it.
    "faults": (
        "tests/browser/faults/",
        "tests/faults/test_worker_lost_for_good.py",
        "tests/faults/",
    ),
    "one site": ("tests/browser/", "tests/chatsite/api/"),
    "supervisor": ("tests/chatsite/supervisor/",),
    "database": ("tests/chatsite/",),
}
OWN_SITE = ("test_fair_shares.py", "test_hard_times.py", "test_slow_readers.py")


def lane(nodeid: str) -> str:
    """The name of what stays together."""
    file = nodeid.split("::")[0]
    if file.endswith(OWN_SITE):
        return file
    return next((name for name, folders in GROUPS.items() if file.startswith(folders)), file)


def place(nodeid: str) -> tuple[int, int]:
    """Where in the run it comes: groups, then sites of their own, which take longest, then the rest.

    Inside a group, the order of its folders.
    """
    name = lane(nodeid)
    if name in GROUPS:
        folder = next(at for at, folder in enumerate(GROUPS[name]) if nodeid.startswith(folder))
        return list(GROUPS).index(name), folder
    return len(GROUPS) + (not name.endswith(OWN_SITE)), 0


class Lanes(LoadScopeScheduling):
    """A lane takes the next group or file when it has nearly done its own."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # `place` has put them in order

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)
