"""Keeps count of the blocks of keys and values: which are in use, and which can be used again.

A block holds the keys and values of `block_tokens` tokens in every layer. A full block is known by
a hash of its tokens and of everything before them, so a later request with the same beginning
takes it over instead of computing it. Unused blocks keep their content until they are needed, the
least recently used going first, or until they have been free for long: then the memory behind them
can be given back. Pure bookkeeping: the tensors belong to the backend.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections import OrderedDict
from collections.abc import Sequence

ROOT = b""
"""The digest before the first block."""


def salted_root(salt: str) -> bytes:
    """The digest before the first block. Requests share blocks only under the same salt."""
    return hashlib.blake2b(salt.encode(), digest_size=16).digest() if salt else ROOT


def block_digest(parent: bytes, token_ids: Sequence[int]) -> bytes:
    """Name a full block by its tokens and all before them; 16 bytes, so no two meet by chance."""
    return hashlib.blake2b(array("q", token_ids).tobytes(), key=parent, digest_size=16).digest()


class BlockPool:
    """Blocks 1 to `num_blocks`, each free or used by one or more requests.

    `num_free + num_used == num_blocks` after every call. Block 0 is the backend's padding and not
    part of the pool. A free block may still carry a digest: it is then both reusable and evictable.
    """

    def __init__(self, num_blocks: int, block_tokens: int, *, reuse: bool = True) -> None:
        self.num_blocks = num_blocks
        self.block_tokens = block_tokens
        self.reuse = reuse
        self._users = [0] * (num_blocks + 1)
        self._free: OrderedDict[int, float | None] = OrderedDict.fromkeys(range(1, num_blocks + 1))
        """Since when, by the monotonic clock; None: no memory is behind it, or nothing in it."""
        self._digest_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}

    @property
    def num_free(self) -> int:
        """Blocks that no request uses."""
        return len(self._free)

    @property
    def num_used(self) -> int:
        """Blocks that one request or more use."""
        return sum(1 for users in self._users if users)

    def blocks_for(self, num_tokens: int) -> int:
        """How many blocks hold that many tokens."""
        return -(-num_tokens // self.block_tokens)

    def match(self, token_ids: Sequence[int], root: bytes = ROOT) -> list[tuple[int, bytes]]:
        """Blocks (and digests) that already hold the beginning of `token_ids`, without taking them.

        Only those that began from the same `root`. The last token is never among them: its logits
        are what the request came for.
        """
        found: list[tuple[int, bytes]] = []
        if not self.reuse:
            return found
        size, digest = self.block_tokens, root
        for start in range(0, (len(token_ids) - 1) // size * size, size):
            digest = block_digest(digest, token_ids[start : start + size])
            block = self._block_of.get(digest)
            if block is None:
                break
            found.append((block, digest))
        return found

    def share(self, blocks: Sequence[int]) -> None:
        """Take blocks that `match` found; they stay until each user has released them."""
        for block in blocks:
            if self._users[block] == 0:
                del self._free[block]
            self._users[block] += 1

    def num_free_after_sharing(self, blocks: Sequence[int]) -> int:
        """What `num_free` would be once these blocks were shared."""
        return len(self._free) - sum(1 for block in blocks if self._users[block] == 0)

    def take(self, count: int) -> list[int] | None:
        """`count` blocks with nothing known in them; None (and no change) if too few are free."""
        if count > len(self._free):
            return None
        taken = []
        for _ in range(count):
            block, _ = self._free.popitem(last=False)
            self._forget(block)
            self._users[block] = 1
            taken.append(block)
        return taken

    def publish(self, block: int, digest: bytes) -> None:
        """Let others find this used, now full and computed block. The first with a digest wins."""
        if self.reuse and digest not in self._block_of and block not in self._digest_of:
            self._block_of[digest] = block
            self._digest_of[block] = digest

    def release(self, blocks: Sequence[int], *, poisoned: bool = False) -> list[int]:
        """Give back blocks in sequence order; returns those that no request uses any more.

        The end of a sequence is evicted before its beginning. `poisoned` content is never found
        again, even where others still use it.
        """
        freed = []
        for block in reversed(blocks):
            if self._users[block] <= 0:
                raise ValueError(f"block {block} is released but not in use")
            self._users[block] -= 1
            if poisoned:
                self._forget(block)
            if self._users[block] == 0:
                self._free[block] = time.monotonic()
                if block not in self._digest_of:  # nothing to find in it: use it first
                    self._free.move_to_end(block, last=False)
                freed.append(block)
        return freed

    def take_memory(self, *, free_since: float, most: int) -> list[int]:
        """Blocks whose memory can go: free since that moment or earlier, `most` of them.

        Their content is forgotten, and they aren't named again until they were used again.
        """
        found = []
        for block, since in self._free.items():
            if since is not None and since <= free_since:
                found.append(block)
                if len(found) == most:
                    break
        for block in found:
            self._forget(block)
            self._free[block] = None  # in its place: taken before what is still known
        return found

    def _forget(self, block: int) -> None:
        digest = self._digest_of.pop(block, None)
        if digest is not None:
            del self._block_of[digest]
