"""How long the latency board takes over many requests: its page and its charts' data.

Fills a database of its own with generated requests over 30 days (figures drawn, not measured), then
asks for the whole of them with nothing cached, in this process, through all of Django.

    python bench/latency_board.py [--requests 100000] [--rounds 7]

Prints the medians; the share of the promise (page 1 s, data 300 ms) that was used comes last.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PROMISED_MS = {"/admin/latency/": 1000, "/admin/latency/data/": 300}
RANGES = ("24h", "7d", "30d")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="latency-board-") as folder:
        os.environ |= {"CHATSITE_DATA": folder, "DJANGO_SETTINGS_MODULE": "chatsite.settings"}
        os.environ.pop("DATABASE_URL", None)
        measure(options.requests, options.rounds)


def measure(requests: int, rounds: int) -> None:
    import django

    django.setup()
    from django.core.cache import cache
    from django.core.management import call_command
    from django.test import Client

    from chatsite.accounts.models import User
    from tests.chatsite.dashboards import rows

    call_command("migrate", verbosity=0)
    rows.many(requests, days=30)
    client = Client(SERVER_NAME="localhost")
    client.force_login(
        User.objects.create_superuser("bench"), backend="django.contrib.auth.backends.ModelBackend"
    )
    used = 0.0
    print(f"{requests:,} requests over 30 days, median of {rounds}, nothing cached")
    for path, promised_ms in PROMISED_MS.items():
        for length in RANGES:
            spent = []
            for _ in range(rounds):
                cache.clear()
                began = time.perf_counter()
                response = client.get(path, {"range": length})
                spent.append((time.perf_counter() - began) * 1000)
                assert response.status_code == 200
            median = statistics.median(spent)
            used = max(used, median / promised_ms)
            print(f"{path:24} {length:>4} {median:8.1f} ms  (best {min(spent):.1f})")
    print(f"used of the promise: {used:.2f}")


if __name__ == "__main__":
    main()
