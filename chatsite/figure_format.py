"""One way to write a figure, for every page, the admin and the page's own scripts.

A figure is kept as it was measured and is rounded once, here, when it is written. The rule:

- A value is rounded half up (away from zero) on its shortest decimal form, the one that `repr` and
  JSON give: 3,707.624 ms is "3,708 ms", 2.675 is "2.68".
- How many decimals it gets is decided by the rounded value, so that 9.996 ms is "10.0 ms".
- Durations: milliseconds with two decimals below 10 ms, one below 100 ms and none below 10 s;
  from 10 s on seconds with one decimal.
- Rates (a number per second, a mean): no decimals from 100 on, one from 10 on, two from 0.1 on,
  four below.
- Shares: percent with one decimal, three below 0.1 %.
- A positive value is never written as zero: what would be is written as "<0.01 ms", "<0.0001".
- Thousands are grouped, and signs are the active language's.
- Where figures must add up to the eye (the request page's table and formula) a duration is written
  to the microsecond instead; JSON and CSV hold the unrounded value.

static/js/figure-format.js is the same rule for the browser; a test compares the two over the range.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal

from django.utils.formats import number_format

EXACT = Context(prec=60)
"""Wide enough that no figure's digits are lost before it is rounded."""

DURATION_STEPS = ((10, 2), (100, 1))
RATE_STEPS = ((Decimal("0.1"), 4), (10, 2), (100, 1))
PERCENT_STEPS = ((Decimal("0.1"), 3),)
SECONDS_FROM_MS = 10_000
SIZE_UNITS = ("B", "KB", "MB", "GB", "TB")

Steps = Sequence[tuple[Decimal | int, int]]


def fixed(value: float | Decimal, decimals: int) -> str:
    """The number with so many decimals, grouped, in the active language."""
    return number_format(_rounded(value, decimals), decimals, use_l10n=True, force_grouping=True)


def count(value: float) -> str:
    """A whole number: "1,234"."""
    return fixed(value, 0)


def duration(ms: float) -> str:
    """Milliseconds as a person reads them: "8.41 ms", "24.1 ms", "4,694 ms", "61.2 s"."""
    if ms == 0:
        return "0 ms"
    if abs(_rounded(ms, 0)) >= SECONDS_FROM_MS:
        return f"{fixed(_decimal(ms) / 1000, 1)} s"
    return f"{_stepped(ms, DURATION_STEPS, 0)} ms"


def exact(ms: float) -> str:
    """Milliseconds to the microsecond: "3,707.624 ms"."""
    return f"{fixed(ms, 3)} ms"


def rate(value: float) -> str:
    """A number per second, or a mean, without its unit: "41.2", "0.0310"."""
    return "0" if value == 0 else _stepped(value, RATE_STEPS, 0)


def percent(share: float) -> str:
    """A share of 1 as "1.2 %"; none and all of it without decimals."""
    if share in (0, 1):
        return f"{fixed(100 * share, 0)} %"
    return f"{_stepped(_decimal(share) * 100, PERCENT_STEPS, 1)} %"


def size(num_bytes: float) -> str:
    """Bytes as "538 MB", in powers of 1,000 as disks and papers count."""
    value, unit = _decimal(num_bytes), 0
    while unit < len(SIZE_UNITS) - 1 and abs(_rounded(value, _size_decimals(value, unit))) >= 1000:
        value, unit = value / 1000, unit + 1
    return f"{fixed(value, _size_decimals(value, unit))} {SIZE_UNITS[unit]}"


def _size_decimals(value: Decimal, unit: int) -> int:
    return 1 if unit and abs(_rounded(value, 1)) < 100 else 0


def _stepped(value: float | Decimal, steps: Steps, decimals_above: int) -> str:
    """The number with the decimals of the first step that its rounded value lies below."""
    for limit, decimals in steps:
        if abs(_rounded(value, decimals)) < limit:
            break
    else:
        decimals = decimals_above
    if value > 0 and _rounded(value, decimals) == 0:
        return f"<{fixed(Decimal(1).scaleb(-decimals), decimals)}"
    return fixed(value, decimals)


def _rounded(value: float | Decimal, decimals: int) -> Decimal:
    rounded = _decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP, EXACT)
    return rounded if rounded else abs(rounded)  # there is no "-0"


def _decimal(value: float | Decimal) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(repr(value))
