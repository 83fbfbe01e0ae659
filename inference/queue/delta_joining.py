"""Merges consecutive deltas, for readers that want all that is available as one event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from inference.contract import Delta

Item = TypeVar("Item")


def joined(items: Iterable[Item]) -> Iterator[Item]:
    """The items in order, with each run of consecutive deltas merged into one."""
    run: list[Delta] = []
    for item in items:
        if isinstance(item, Delta) and (not run or _continues(run[-1], item)):
            run.append(item)
            continue
        if run:
            yield _sum_of(run)
        run = [item] if isinstance(item, Delta) else []
        if not run:
            yield item
    if run:
        yield _sum_of(run)


def _continues(delta: Delta, following: Delta) -> bool:
    return (
        following.attempt == delta.attempt
        and following.position == delta.position + len(delta.token_ids)
        and following.text_offset == delta.text_offset + len(delta.text)
        and bool(following.logprobs) == bool(delta.logprobs)
        and bool(following.records) == bool(delta.records)
    )


def _sum_of(run: list[Delta]) -> Any:
    if len(run) == 1:
        return run[0]
    return replace(
        run[0],
        token_ids=tuple(token for delta in run for token in delta.token_ids),
        text="".join(delta.text for delta in run),
        mono_ns=run[-1].mono_ns,
        logprobs=tuple(entry for delta in run for entry in delta.logprobs),
        records=b"".join(delta.records for delta in run),
    )
