"""What the latency board and the admin's list of requests cost over many requests.

Fills a database of its own by `manage.py seed_demo` (figures drawn, not measured), then asks through
all of Django, in this process: with nothing kept (cold), and as an open page asks again after 15 s
(refresh: roll-ups that nobody wrote anew are at hand, the newest minutes are not).

    python bench/latency_board.py [--requests 1000000] [--rounds 5] [--data FOLDER]

--data keeps the folder, and uses what an earlier run left there. With DATABASE_URL the requests go
into that (empty) database; a server's own CPU is not counted. Prints medians of this process' CPU
and of wall time; the share of the promise that was used comes last: 300 ms of CPU for the data and
the admin's list, 1 s of wall time for the page, 200 ms to the first byte of the CSV.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BOARD, DATA, LIST = "/admin/latency/", "/admin/latency/data/", "/admin/metrics/generation/"
ASKED = (
    *((DATA, f"range={r}") for r in ("24h", "7d", "30d")),
    (DATA, "range=30d&source=api"),
    (DATA, "range=30d&state=failed"),
    (DATA, "range=30d&worker=slot2@quartz"),
    *((BOARD, f"range={r}") for r in ("24h", "7d", "30d")),
    (LIST, ""), (LIST, "p=100"), (LIST, "worker=slot2@quartz"), (LIST, "state__exact=failed"),
    (LIST, "q=expired"), (LIST, "preset_slug=balanced&state__exact=interrupted"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", help="a folder to keep")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="latency-board-") as folder:
        os.environ |= {
            "CHATSITE_DATA": options.data or folder,
            "DJANGO_SETTINGS_MODULE": "chatsite.settings",
        }
        measure(options.requests, options.rounds)


def measure(requests: int, rounds: int) -> None:
    import django

    django.setup()
    from django.core.cache import cache
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from chatsite.accounts.models import User
    from chatsite.generation.models import Generation
    from chatsite.generation.stats import read

    call_command("migrate", verbosity=0)
    admin, _ = User.objects.get_or_create(username="bench", is_superuser=True, is_staff=True)
    if not Generation.objects.exists():
        call_command("seed_demo", requests=requests)
    client = Client(SERVER_NAME="localhost")
    client.force_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    client.get(BOARD)  # what is loaded once
    used = 0.0
    print(f"{requests:,} requests over 30 days, {connection.vendor}, median of {rounds}")
    print(
        f"{'':58} {'cold':>18} {'refresh':>18}\n{'':58} {'CPU':>9}{'wall':>9} {'CPU':>9}{'wall':>9}"
    )
    for path, query in ASKED:

        def ask(path: str = path, query: str = query) -> None:
            assert client.get(f"{path}?{query}").status_code == 200

        def refresh(ask: Callable[[], None] = ask) -> None:
            cache.clear()
            ask()

        def cold(refresh: Callable[[], None] = refresh) -> None:
            read.forget()
            refresh()

        cold_cpu, cold_wall = timed(cold, rounds)
        again_cpu, again_wall = timed(refresh, rounds)
        print(
            f"{path + '?' + query:58} {cold_cpu:8.0f} {cold_wall:8.0f}  {again_cpu:8.0f} {again_wall:8.0f}  ms"
        )
        used = max(used, cold_wall / 1000 if path == BOARD else cold_cpu / 300)
    first = asyncio.run(first_byte(admin, rounds))
    print(f"{'/admin/latency/requests.csv?range=30d, first byte':58} {'':8} {first:8.0f}  ms")
    print(f"used of the promise: {max(used, first / 200):.2f}")


def timed(act: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Median CPU and wall time in ms."""
    cpu, wall = [], []
    for _ in range(rounds):
        began_cpu, began = time.process_time(), time.perf_counter()
        act()
        cpu.append((time.process_time() - began_cpu) * 1000)
        wall.append((time.perf_counter() - began) * 1000)
    return statistics.median(cpu), statistics.median(wall)


async def first_byte(admin: object, rounds: int) -> float:
    """Median wall time in ms until the second piece (header and 1,000 rows) of the CSV is there."""
    from django.conf import settings
    from django.test import AsyncClient

    settings.ALLOWED_HOSTS.append("testserver")
    client = AsyncClient()
    await client.aforce_login(admin, backend="django.contrib.auth.backends.ModelBackend")
    spent = []
    for _ in range(rounds):
        began = time.perf_counter()
        response = await client.get("/admin/latency/requests.csv?range=30d")
        pieces = aiter(response.streaming_content)
        await anext(pieces)
        await anext(pieces)
        spent.append((time.perf_counter() - began) * 1000)
        await pieces.aclose()
    return statistics.median(spent)


if __name__ == "__main__":
    main()
