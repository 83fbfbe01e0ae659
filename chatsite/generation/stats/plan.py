"""Which parts of a stretch of time are read from roll-ups, and which from the requests' rows.

As much as possible comes from the widest roll-ups; what they don't hold rightly (the edges of the
stretch, the newest minutes, minutes with a request that has changed since) comes from narrower ones
and in the end from the rows. So a board is never older than the moment it was asked for.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MINUTE, HOUR, QUARTER, DAY = 60, 3600, 6 * 3600, 86_400
WIDTHS = (DAY, QUARTER, HOUR, MINUTE)

Stretch = tuple[int, int]
"""From the first second to before the second one, in Unix time."""


@dataclass(slots=True)
class Plan:
    """Stretches to read: from roll-ups by their width, and from the rows. In ascending order."""

    roll_ups: dict[int, list[Stretch]] = field(default_factory=dict)
    rows: list[tuple[dt.datetime, dt.datetime]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rolled:
    """Which roll-ups are up to date: all that end by `until_s`, except in stale minutes.

    `written` is, by width, the run that last wrote such roll-ups.
    """

    until_s: int = 0
    minutes_from_s: int = 0
    stale: Sequence[int] = ()  # ascending starts of minutes
    written: Mapping[str, int] = field(default_factory=dict)

    def holds(self, width: int, start_s: int) -> bool:
        """Whether the roll-up of that width and start is right."""
        if start_s + width > self.until_s or (width == MINUTE and start_s < self.minutes_from_s):
            return False
        return bisect_left(self.stale, start_s) == bisect_left(self.stale, start_s + width)


def plan(since: dt.datetime, until: dt.datetime, *, slice_s: int, rolled: Rolled) -> Plan:
    """How to read from `since` to `until` for slices of `slice_s` seconds."""
    widths = [width for width in WIDTHS if slice_s % width == 0]
    first, last = _up(since, MINUTE), _down(until, MINUTE)
    found = Plan()
    if not widths or first >= last:
        found.rows = [(since, until)]
        return found
    loose: list[Stretch] = []
    _cover(first, last, widths, rolled, found, loose)
    edges = [(since, moment(first)), *((moment(a), moment(b)) for a, b in loose)]
    found.rows = _joined([*edges, (moment(last), until)])
    return found


def _cover(
    first: int, last: int, widths: list[int], rolled: Rolled, found: Plan, loose: list[Stretch]
) -> None:
    if first >= last:
        return
    if not widths:
        loose.append((first, last))
        return
    width, narrower = widths[0], widths[1:]
    whole_from, whole_to = -(-first // width) * width, last // width * width
    if whole_from >= whole_to:
        _cover(first, last, narrower, rolled, found, loose)
        return
    _cover(first, whole_from, narrower, rolled, found, loose)
    gap_from = whole_from
    runs = found.roll_ups.setdefault(width, [])
    for start in range(whole_from, whole_to, width):
        if rolled.holds(width, start):
            _cover(gap_from, start, narrower, rolled, found, loose)
            if runs and runs[-1][1] == start:
                runs[-1] = (runs[-1][0], start + width)
            else:
                runs.append((start, start + width))
            gap_from = start + width
    _cover(gap_from, whole_to, narrower, rolled, found, loose)
    _cover(whole_to, last, narrower, rolled, found, loose)


def _joined(
    stretches: Iterable[tuple[dt.datetime, dt.datetime]],
) -> list[tuple[dt.datetime, dt.datetime]]:
    joined: list[tuple[dt.datetime, dt.datetime]] = []
    for since, until in stretches:
        if since >= until:
            continue
        if joined and joined[-1][1] == since:
            since = joined.pop()[0]
        joined.append((since, until))
    return joined


def moment(unix_s: int) -> dt.datetime:
    """That second of Unix time."""
    return dt.datetime.fromtimestamp(unix_s, tz=dt.UTC)


def _down(at: dt.datetime, width: int) -> int:
    return int(at.timestamp()) // width * width


def _up(at: dt.datetime, width: int) -> int:
    down = _down(at, width)
    return down if moment(down) == at else down + width
