"""What the latency board says about a set of requests. A figure over no requests is None."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from chatsite.generation.models import Generation
from chatsite.generation.stats.summary import Summary, share

UNFINISHED: tuple[str, ...] = (
    Generation.State.PENDING,
    Generation.State.QUEUED,
    Generation.State.RUNNING,
)
ERRORS: tuple[str, ...] = (Generation.State.FAILED, Generation.State.INTERRUPTED)


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

    `tokens` are those sampled; with `seconds` of wall time they give the throughput. Percentiles
    were measured where `is_exact`, else they are within 1 % of a measured one. `slowest` are ids.
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
    slowest: list[UUID]
    is_exact: bool

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
