"""Figures over many requests: exact percentiles, shares and throughput, by time and by model.

Percentiles are nearest-rank: the smallest value with at least p % of all values at or below it, so
each is a value that was measured. They are taken from the values themselves, never from other
percentiles. A figure over no requests is None, which pages show as "no data".

Two queries, each over one covering index, and nothing kept. What the figures mean is in
docs/measures.md (Many requests); how they look is left to dashboards.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Field, Func, QuerySet

from chatsite.generation.models import Generation

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler

UNFINISHED: tuple[str, ...] = (
    Generation.State.PENDING,
    Generation.State.QUEUED,
    Generation.State.RUNNING,
)
ERRORS: tuple[str, ...] = (Generation.State.FAILED, Generation.State.INTERRUPTED)

ROUGH_P99_BELOW = 1_000
"""Under this many values the 99th percentile rests on fewer than ten of them, and is marked."""


def percentile(ordered: Sequence[float], per_cent: int) -> float | None:
    """The nearest-rank percentile of ascending values; None of none. `per_cent` is 1 to 100."""
    if not 1 <= per_cent <= 100:
        raise ValueError(f"per_cent must lie between 1 and 100, not {per_cent}.")
    if not ordered:
        return None
    return ordered[-(-len(ordered) * per_cent // 100) - 1]  # in whole numbers: 0.07 * 100 > 7


@dataclass(frozen=True, slots=True)
class Summary:
    """One figure over many requests, in the unit of its values."""

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, ordered: Sequence[float]) -> Summary:
        """Of ascending values."""
        if not ordered:
            return cls()
        p50, p90, p95, p99 = (percentile(ordered, p) for p in (50, 90, 95, 99))
        mean = sum(ordered) / len(ordered)
        return cls(len(ordered), mean, p50, p90, p95, p99, ordered[-1])

    @property
    def has_rough_p99(self) -> bool:
        return 0 < self.count < ROUGH_P99_BELOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Where the time went: means in µs over the requests that have the figure, else None.

    The first four add up to the mean latency; delivery is known only where a browser reported.
    """

    queue_us: float | None
    prefill_us: float | None
    decode_us: float | None
    recovery_us: float | None
    delivery_us: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The requests received in one slice of time that starts at `start_s` (Unix time)."""

    start_s: int
    requests: int
    tokens: int
    ttft_us: Summary
    tpot_us: Summary
    phases: Phases


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The requests of one model and preset."""

    model: str
    preset: str
    requests: int
    unfinished: int
    errors: int
    tokens: int
    ttft_us: Summary
    tpot_us: Summary

    @property
    def error_share(self) -> float | None:
        return share(self.errors, self.requests - self.unfinished)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """Everything the latency board says about a set of requests.

    `tokens` are those sampled; with `seconds` of wall time they give the throughput.
    """

    seconds: float
    requests: int
    unfinished: int
    tokens: int
    ttft_us: Summary
    tpot_us: Summary
    phases: Phases
    buckets: list[Bucket]
    groups: list[Group]
    errors: list[tuple[str, int]]

    @property
    def error_count(self) -> int:
        return sum(count for _, count in self.errors)

    @property
    def error_share(self) -> float | None:
        """Failed and interrupted requests among those that have ended."""
        return share(self.error_count, self.requests - self.unfinished)

    @property
    def tokens_per_s(self) -> float | None:
        return self.tokens / self.seconds if self.requests and self.seconds > 0 else None

    @property
    def requests_per_s(self) -> float | None:
        return self.requests / self.seconds if self.requests and self.seconds > 0 else None


def share(part: int, whole: int) -> float | None:
    return part / whole if whole > 0 else None


class TimeSlot(Func):
    """Which slice of `bucket_s` seconds of Unix time a moment lies in, told by the database."""

    output_field = Field()  # IntegerField's converter would call int() on each of 100,000 ints
    template = "FLOOR(EXTRACT(EPOCH FROM %(expressions)s) / %(bucket_s)d)::bigint"

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        template = "strftime('%%%%s', %(expressions)s) / %(bucket_s)d"
        return self.as_sql(compiler, connection, template=template, **context)


COLUMNS = (
    "model_slug",
    "preset_slug",
    "queue_us",
    "ttft_us",
    "decode_us",
    "latency_us",
    "tpot_us",
    "user_latency_us",
    "completion_tokens",
)


@dataclass(slots=True)
class _Pile:
    """What is added up over rows. Sums in µs; `finished` rows are those that have a latency.

    Values are sorted while piles are small: sorting them again after piles were added is a merge.
    """

    requests: int = 0
    tokens: int = 0
    ttft: list[int] = field(default_factory=list)
    tpot: list[float] = field(default_factory=list)
    finished: int = 0
    queue: int = 0
    prefill: int = 0
    decode: int = 0
    recovery: int = 0
    delivered: int = 0
    delivery: int = 0

    @classmethod
    def of(cls, rows: list[tuple[Any, ...]]) -> _Pile:
        """Of rows of (time slot, *COLUMNS): column by column, which Python does fastest."""
        _slot, _model, _preset, queue, ttft, decode, latency, tpot, seen, tokens = zip(
            *rows, strict=True
        )
        pile = cls(
            requests=len(rows),
            tokens=sum(filter(None, tokens)),
            ttft=sorted(v for v in ttft if v is not None),
            tpot=sorted(v for v in tpot if v is not None),
        )
        if None in latency:  # never got a token, or still running
            ended = [row for row in rows if row[6] is not None]
            if not ended:
                return pile
            _, _, _, queue, ttft, decode, latency, _, seen, _ = zip(*ended, strict=True)
        pile.finished = len(latency)
        pile.queue = sum(queue)
        pile.prefill = sum(ttft) - pile.queue
        pile.decode = sum(decode)
        pile.recovery = sum(latency) - sum(ttft) - pile.decode
        delivery = [s - v for s, v in zip(seen, latency, strict=True) if s is not None]
        pile.delivered, pile.delivery = len(delivery), sum(delivery)
        return pile

    def add(self, other: _Pile) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            value += getattr(other, name)  # grows a list in place
            setattr(self, name, value)


def board(rows: QuerySet[Generation], *, seconds: float, bucket_s: int) -> Board:
    """The figures of `rows`, in slices of `bucket_s` seconds of Unix time.

    `seconds` is the wall time that `rows` cover. Holds the rows of one slice at a time.
    """
    slot = TimeSlot("received_at", bucket_s=bucket_s)
    columns = rows.order_by("received_at").values_list(slot, *COLUMNS)
    by_time: dict[int, _Pile] = {}
    by_group: dict[tuple[str, str], _Pile] = defaultdict(_Pile)
    for slot, in_slot in groupby(columns.iterator(), key=itemgetter(0)):
        of_group: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
        for row in in_slot:
            of_group[row[1], row[2]].append(row)
        by_time[slot] = whole = _Pile()
        for key, group_rows in of_group.items():
            pile = _Pile.of(group_rows)
            whole.add(pile)
            by_group[key].add(pile)

    for pile in (*by_time.values(), *by_group.values()):
        pile.ttft.sort()
        pile.tpot.sort()
    outcomes = _outcomes(rows)
    groups = [_group(key, pile, outcomes) for key, pile in by_group.items()]
    errors: Counter[str] = Counter()
    for (_model, _preset, state, code), count in outcomes.items():
        if state in ERRORS:
            errors[code or state] += count
    return Board(
        seconds=seconds,
        requests=sum(g.requests for g in groups),
        unfinished=sum(g.unfinished for g in groups),
        tokens=sum(g.tokens for g in groups),
        ttft_us=Summary.of(sorted(chain.from_iterable(p.ttft for p in by_group.values()))),
        tpot_us=Summary.of(sorted(chain.from_iterable(p.tpot for p in by_group.values()))),
        phases=_phases(by_group.values()),
        buckets=[_bucket(slot * bucket_s, pile) for slot, pile in by_time.items()],
        groups=sorted(groups, key=lambda g: (-g.requests, g.model, g.preset)),
        errors=errors.most_common(),
    )


Outcomes = dict[tuple[str, str, str, str], int]


def _outcomes(rows: QuerySet[Generation]) -> Outcomes:
    """How many requests of each model and preset are unfinished or in error, by state and code."""
    counted = (
        rows.filter(state__in=(*UNFINISHED, *ERRORS))
        .order_by()
        .values_list("model_slug", "preset_slug", "state", "error_code")
        .annotate(count=Count("request_id"))
    )
    return {tuple(key): count for *key, count in counted}


def _group(key: tuple[str, str], pile: _Pile, outcomes: Outcomes) -> Group:
    model, preset = key
    ended_badly = unfinished = 0
    for (of_model, of_preset, state, _code), count in outcomes.items():
        if (of_model, of_preset) == key:
            ended_badly += count if state in ERRORS else 0
            unfinished += count if state in UNFINISHED else 0
    return Group(
        model=model,
        preset=preset,
        requests=pile.requests,
        unfinished=unfinished,
        errors=ended_badly,
        tokens=pile.tokens,
        ttft_us=Summary.of(pile.ttft),
        tpot_us=Summary.of(pile.tpot),
    )


def _bucket(start_s: int, pile: _Pile) -> Bucket:
    return Bucket(
        start_s=start_s,
        requests=pile.requests,
        tokens=pile.tokens,
        ttft_us=Summary.of(pile.ttft),
        tpot_us=Summary.of(pile.tpot),
        phases=_phases([pile]),
    )


def _phases(piles: Iterable[_Pile]) -> Phases:
    piles = list(piles)

    def mean(sum_of: str, count_of: str = "finished") -> float | None:
        count = sum(getattr(pile, count_of) for pile in piles)
        return sum(getattr(pile, sum_of) for pile in piles) / count if count else None

    return Phases(
        queue_us=mean("queue"),
        prefill_us=mean("prefill"),
        decode_us=mean("decode"),
        recovery_us=mean("recovery"),
        delivery_us=mean("delivery", "delivered"),
    )


def now_in_states() -> dict[str, int]:
    """How many requests of the whole site wait and run at this moment."""
    counts = dict(
        Generation.objects.filter(state__in=UNFINISHED)
        .order_by()
        .values_list("state")
        .annotate(count=Count("request_id"))
    )
    running = counts.get(Generation.State.RUNNING, 0)
    return {"running": running, "waiting": sum(counts.values()) - running}
