"""The books of the block pool: nothing is lost or counted twice, nothing stale is found."""

from __future__ import annotations

import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from inference.engine.scheduling.kv_cache import ROOT, BlockPool, block_digest

SIZE = 4


def publish_all(pool: BlockPool, blocks: list[int], tokens: list[int]) -> None:
    digest = ROOT
    for n in range(len(tokens) // SIZE):
        digest = block_digest(digest, tokens[n * SIZE : (n + 1) * SIZE])
        pool.publish(blocks[n], digest)


def hold(pool: BlockPool, tokens: list[int]) -> list[int]:
    """What the scheduler does for one whole sequence."""
    shared = [block for block, _ in pool.match(tokens)]
    pool.share(shared)
    taken = pool.take(pool.blocks_for(len(tokens)) - len(shared))
    assert taken is not None
    publish_all(pool, shared + taken, tokens)
    return shared + taken


def test_the_same_beginning_is_found_again_after_its_owner_left():
    pool = BlockPool(8, SIZE)
    first = hold(pool, [*range(10)])
    pool.release(first)
    assert [b for b, _ in pool.match([*range(10), 99])] == first[:2]


def test_the_last_token_is_always_computed():
    pool = BlockPool(8, SIZE)
    pool.release(hold(pool, [*range(8)]))
    assert len(pool.match([*range(8)])) == 1


def test_a_block_counts_only_behind_the_same_beginning():
    pool = BlockPool(8, SIZE)
    pool.release(hold(pool, [1, 1, 1, 1, 2, 2, 2, 2, 0]))
    assert pool.match([3, 3, 3, 3, 2, 2, 2, 2, 0]) == []


def test_the_memory_of_blocks_that_were_free_for_long_can_go_once():
    pool = BlockPool(8, SIZE)
    pool.release(hold(pool, [*range(9)]))
    busy = hold(pool, [*range(50, 58)])
    later = time.monotonic() + 1
    assert pool.take_memory(free_since=0.0, most=8) == []
    gone = pool.take_memory(free_since=later, most=2)
    gone += pool.take_memory(free_since=later, most=8)
    assert sorted(gone) == sorted({1, 2, 3} - set(busy))
    assert pool.take_memory(free_since=later, most=8) == []
    assert pool.match([*range(10)]) == []
    assert pool.num_free == 8 - len(busy)
    assert pool.take(6) is not None


def test_the_least_recently_used_goes_first_and_ends_before_beginnings():
    pool = BlockPool(4, SIZE)
    old = hold(pool, [*range(8)])
    new = hold(pool, [*range(50, 58)])
    pool.release(old)
    pool.release(new)
    assert pool.take(1) == [old[1]]
    assert pool.take(1) == [old[0]]
    assert [b for b, _ in pool.match([*range(50, 59)])] == new


def test_poisoned_blocks_are_never_found_again():
    pool = BlockPool(4, SIZE)
    pool.release(hold(pool, [*range(8)]), poisoned=True)
    assert pool.match([*range(9)]) == []
    pool.release(hold(pool, [*range(SIZE), 0]))  # its beginning is computed anew
    assert len(pool.match([*range(9)])) == 1, "what came behind it stays forgotten"


def test_without_reuse_nothing_is_found():
    pool = BlockPool(4, SIZE, reuse=False)
    pool.release(hold(pool, [*range(8)]))
    assert pool.match([*range(9)]) == []


def test_a_block_can_not_be_released_twice():
    pool = BlockPool(2, SIZE)
    blocks = pool.take(1)
    assert blocks is not None
    pool.release(blocks)
    with pytest.raises(ValueError, match="not in use"):
        pool.release(blocks)


class Books(RuleBasedStateMachine):
    """Any order of holding, growing and releasing sequences that share beginnings.

    And of giving the memory of free blocks back.
    """

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(12, SIZE)
        self.live: list[list[int]] = []

    @rule(target=held, tokens=st.lists(st.integers(0, 2), min_size=1, max_size=24))
    def hold(self, tokens: list[int]) -> list[int]:
        pool = self.pool
        shared = [block for block, _ in pool.match(tokens)]
        missing = pool.blocks_for(len(tokens)) - len(shared)
        before = pool.num_free
        if pool.num_free_after_sharing(shared) < missing:
            return []
        pool.share(shared)
        assert pool.num_free == before - sum(1 for b in shared if self.users(b) == 0)
        taken = pool.take(missing)
        assert taken is not None
        assert not set(taken) & set(shared)
        publish_all(pool, shared + taken, tokens)
        self.live.append(shared + taken)
        return self.live[-1]

    @rule(blocks=consumes(held), poisoned=st.booleans())
    def release(self, blocks: list[int], poisoned: bool) -> None:
        if any(blocks is one for one in self.live):
            self.live = [one for one in self.live if one is not blocks]
            self.pool.release(blocks, poisoned=poisoned)

    @rule(blocks=held)
    def grow(self, blocks: list[int]) -> None:
        if any(blocks is one for one in self.live):
            blocks += self.pool.take(1) or []

    @rule(most=st.integers(1, 12))
    def give_memory_back(self, most: int) -> None:
        """What holds nothing any more is nobody's, and is named once."""
        later = time.monotonic() + 1
        gone = self.pool.take_memory(free_since=later, most=most)
        assert len(gone) == len(set(gone)) <= most
        assert all(self.users(block) == 0 for block in gone)
        assert not set(gone) & set(self.pool.take_memory(free_since=later, most=12))

    def users(self, block: int) -> int:
        return sum(one.count(block) for one in self.live)

    @invariant()
    def free_and_used_make_the_total(self) -> None:
        assert self.pool.num_free + self.pool.num_used == self.pool.num_blocks
        assert self.pool.num_used == len({block for one in self.live for block in one})

    def teardown(self) -> None:
        for blocks in self.live:
            self.pool.release(blocks)
        assert self.pool.num_free == self.pool.num_blocks


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
