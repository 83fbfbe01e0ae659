"""Mergeable sketches of durations: percentiles within 1 % of a measured value, however many.

A sketch counts values in bins that grow by a constant factor: DDSketch (Masson, Rim and Lee, VLDB
2019). Datadog's `ddsketch` says which bin a value lies in and which value stands for a bin; its own
store adds bin by bin in Python, so bins of many sketches are added here by numpy, whole columns at
a time. A test holds the two to the same percentiles.

In the database a sketch is its bins in ascending order, each a signed 16-bit key and an unsigned
32-bit count, little-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ddsketch.mapping import LogarithmicMapping

from chatsite.generation.stats.summary import PERCENTILES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RELATIVE_ACCURACY = 0.01
MAPPING = LogarithmicMapping(RELATIVE_ACCURACY)
ZERO_KEY = -32_768
"""The bin of zero, which has no logarithm."""

BIN = np.dtype([("key", "<i2"), ("count", "<u4")])
_LOWEST, _HIGHEST = 1e-9, 1e15  # µs: far beyond what a duration can be, and keys fit 16 bits
_PER_LOG = 1 / np.log(MAPPING.gamma)


def keys_of(values: npt.NDArray[Any]) -> Ints:
    """The bin of each value; negative values count as zero."""
    positive = np.clip(values.astype(np.float64), _LOWEST, _HIGHEST)
    keys: Ints = np.ceil(np.log(positive) * _PER_LOG).astype(np.int64)
    keys[np.asarray(values) <= 0] = ZERO_KEY
    return keys


def values_of(keys: Ints) -> Floats:
    """The value that stands for each bin: no value in it is further off than 1 %."""
    return np.array([0.0 if key == ZERO_KEY else MAPPING.value(int(key)) for key in keys])


def pack(owners: Ints, keys: Ints, counts: Ints, *, of: int) -> list[bytes]:
    """The sketches of owners 0 to `of` - 1 as the database keeps them."""
    pairs, counts = _merged(owners * 65_536 + (keys + 32_768), counts)
    bins = np.empty(len(pairs), BIN)
    bins["key"] = pairs % 65_536 - 32_768
    bins["count"] = counts
    ends = np.searchsorted(pairs // 65_536, np.arange(of), side="right").tolist()
    starts = [0, *ends[:-1]]
    return [bins[a:b].tobytes() for a, b in zip(starts, ends, strict=True)]


def unpack(sketches: Sequence[bytes]) -> tuple[Ints, Ints, Ints]:
    """Owner (the index of its sketch), key and count of every bin."""
    lengths = np.fromiter((len(s) for s in sketches), np.int64, len(sketches)) // BIN.itemsize
    bins = np.frombuffer(b"".join(sketches), BIN)
    owners = np.repeat(np.arange(len(sketches)), lengths)
    return owners, bins["key"].astype(np.int64), bins["count"].astype(np.int64)


def percentiles(owners: Ints, keys: Ints, counts: Ints, *, of: int) -> Floats:
    """The nearest-rank PERCENTILES of owners 0 to `of` - 1, shape (of, 4); NaN of none."""
    result = np.full((of, len(PERCENTILES)), np.nan)
    if not len(keys):
        return result
    lowest = int(keys.min(where=keys != ZERO_KEY, initial=32_767)) - 1  # where zeros are put
    column_of = np.where(keys == ZERO_KEY, 0, keys - lowest)
    width = int(column_of.max()) + 1
    histogram = np.bincount(owners * width + column_of, counts, of * width).reshape(of, width)
    upto = histogram.cumsum(axis=1)
    totals = upto[:, -1]
    standing = values_of(np.concatenate(([ZERO_KEY], np.arange(lowest + 1, lowest + width))))
    for column, per_cent in enumerate(PERCENTILES):
        rank = np.ceil(totals * per_cent / 100 - 1e-9)  # 0.07 * 100 > 7
        found = (upto < rank[:, None]).sum(axis=1).clip(max=width - 1)
        result[:, column] = np.where(totals > 0, standing[found], np.nan)
    return result


def _merged(pairs: Ints, counts: Ints) -> tuple[Ints, Ints]:
    distinct, place = np.unique(pairs, return_inverse=True)
    return distinct, np.bincount(place, counts, len(distinct)).astype(np.int64)
