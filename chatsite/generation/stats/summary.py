"""Nearest-rank percentiles, and a figure over many requests summed up in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        p50, p90, p95, p99 = (percentile(ordered, p) for p in PERCENTILES)
        mean = sum(ordered) / len(ordered)
        return cls(len(ordered), mean, p50, p90, p95, p99, ordered[-1])

    @property
    def has_rough_p99(self) -> bool:
        return 0 < self.count < ROUGH_P99_BELOW


PERCENTILES = (50, 90, 95, 99)


def share(part: int, whole: int) -> float | None:
    """`part` of `whole`; None where there is nothing to have a share in."""
    return part / whole if whole > 0 else None
