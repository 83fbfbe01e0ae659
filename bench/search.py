"""How long a search takes over 100,000 messages of one person among others.

    .venv/bin/python bench/search.py [--messages 100000] [--json PATH]

Makes a database of its own (SQLite in a temporary folder, or the empty one that DATABASE_URL names),
fills it with texts whose words are as frequent as those of a language (Zipf), and times what the
sidebar asks for (`conversation_rows`: a page of 40 with snippets) and what the history asks for
(count and a page). Also the cost of the index to a write.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
ROUNDS = 15
WORDS_PER_MESSAGE = 120
MESSAGES_PER_CONVERSATION = 50
QUERIES = {
    "a rare word": "w19000",
    "a common word": "w40",
    "the most common word": "w1",
    "one letter, nearly everything": "w",
    "two words in any order": "w300 w40",
    "three words": "w5 w40 w300",
    "a phrase": '"w2 w1"',
    "two characters of Chinese": "学习",
    "nothing": "absent",
    "a word and an operator": "w300 model:m on:today",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="a folder whose database is made once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CHATSITE_DATA"] = str(options.keep or folder)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
        import django

        django.setup()
        result = measure(options.messages)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def measure(messages: int) -> dict[str, object]:
    """Median and slowest of each query in ms."""
    from django.core.management import call_command
    from django.db import connection

    from chatsite.accounts.models import User
    from chatsite.chat.queries import conversation_rows
    from chatsite.chat.search import search

    call_command("migrate", verbosity=0)
    started = time.perf_counter()
    user = User.objects.filter(username="person0").first() or fill(messages)
    filled_s = time.perf_counter() - started
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    timings: dict[str, dict[str, float]] = {}
    for name, text in QUERIES.items():
        timings[name] = {
            "found": search(user, text).rows.count(),
            **timed("sidebar_ms", lambda text=text: conversation_rows(user, text=text)),
            **timed("history_ms", lambda text=text: history_page(user, text)),
        }
    return {
        "database": connection.vendor,
        "messages": messages,
        "filled_s": round(filled_s, 1),
        "write_ms": write_cost(user),
        "queries": timings,
    }


def fill(messages: int) -> object:
    """Nine tenths of the messages are one person's, the rest other people's."""
    from chatsite.accounts.models import User
    from chatsite.chat.models import Conversation, Message

    rng = random.Random(3)
    ranks = range(1, 20_001)
    weights = [1 / rank for rank in ranks]
    total, cumulated = 0.0, []
    for weight in weights:
        total += weight
        cumulated.append(total)
    people = [User.objects.create_user(f"person{n}") for n in range(5)]
    for number in range(messages // MESSAGES_PER_CONVERSATION):
        owner = people[0] if number % 10 else people[1 + number % 4]
        conversation = Conversation.objects.create(
            owner=owner, title=f"w{rng.choice(ranks)} talk {number}", model_slug="m"
        )
        Message.objects.bulk_create(
            Message(conversation=conversation, author=owner, role="user", text=text)
            for text in (
                " ".join(
                    "我们学习语言" if rank % 977 == 0 else f"w{rank}"
                    for rank in rng.choices(ranks, cum_weights=cumulated, k=WORDS_PER_MESSAGE)
                )
                for _ in range(MESSAGES_PER_CONVERSATION)
            )
        )
    return people[0]


def history_page(user: object, text: str) -> None:
    """What the history page asks the database for."""
    from django.http import QueryDict

    from chatsite.dashboards.history.table import find

    query = QueryDict(mutable=True)
    query["q"] = text
    found = find(user, query)  # type: ignore[arg-type]
    list(found.page.object_list)


def write_cost(user: object) -> dict[str, float]:
    """A message of 120 words stored with and without its way into the index."""
    from chatsite.chat.models import Conversation, Message
    from chatsite.chat.search_index import index_message

    conversation = Conversation.objects.filter(owner=user).first()
    text = " ".join(f"w{n}" for n in range(WORDS_PER_MESSAGE))

    def store() -> None:
        Message.objects.create(conversation=conversation, author=user, role="user", text=text)

    def index() -> None:
        message.text += " more"
        index_message(message)

    message = Message.objects.create(conversation=conversation, author=user, role="user", text=text)
    return timed("stored", store) | timed("indexed_again", index)


def timed(name: str, do: Callable[[], object]) -> dict[str, float]:
    """Median and maximum of ROUNDS calls in ms; a call before them warms the caches."""
    do()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        do()
        times.append((time.perf_counter() - started) * 1000)
    return {name: round(statistics.median(times), 1), f"{name}_max": round(max(times), 1)}


if __name__ == "__main__":
    main()
