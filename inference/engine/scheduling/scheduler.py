"""Chooses which requests run next, and with how many tokens. Sees block counts, never tensors.

Each step decodes every request that can decode, and fills what is left of the token budget with
prefill chunks: half of it at least for the prompt that has waited longest, the rest for the
shortest prompts. Chunks of short prompts may hold the decodes up a little. Long prompts piggyback
on the decodes' steps in small pieces; or, where a step can be cut between layers, they are
interleaved one at a time: a chunk runs a few layers at a time between the steps of the decodes.
When pages run out, the last request in the queue's order is preempted; it loses no token, only the
time to compute them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from inference.engine.active_request import ActiveRequest, RequestStatus
from inference.engine.scheduling.kv_cache import BlockPool, block_digest, salted_root
from inference.engine.scheduling.prefill_pacing import PrefillBudget

SHORT_PROMPT = 512
"""A prompt admitted with at most this many tokens to compute may hold up the decodes of others."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Run the next `num_tokens` tokens of `request`; `samples` when they are the last."""

    request: ActiveRequest
    num_tokens: int
    samples: bool
    is_decode: bool = False


@dataclass(slots=True)
class Scheduler:
    """The waiting and running requests, and the blocks that each owns.

    Every running request owns blocks for all its tokens up to the one being computed; waiting ones
    own none. `max_running` bounds the requests of one step. A block that lies before every layer's
    window is given back, and stands as 0 in the request's blocks.
    """

    pool: BlockPool
    max_running: int
    window: int = 0  # the widest of the layers' windows; 0 when a layer sees everything
    interleaved: Scheduled | None = None  # the chunk that runs between steps; advance() ends it
    num_interleaved: int = 0  # chunks that were started so
    waiting: list[ActiveRequest] = field(default_factory=list)
    running: list[ActiveRequest] = field(default_factory=list)

    def add(self, request: ActiveRequest) -> None:
        """Put a request in the queue. The core bounds the queue's length."""
        request.status = RequestStatus.WAITING
        request.root = salted_root(request.request.cache_salt)
        self.waiting.append(request)

    def schedule(self, *, step_tokens: int, budget: PrefillBudget) -> list[Scheduled]:
        """The next step: decodes first, then prefill chunks, never more than `step_tokens`.

        `budget` bounds the chunks together (the core keeps steps short while others decode). Empty
        when nothing can run.
        """
        decodes = self._decodes()
        self._admit()
        decodes = [r for r in decodes if r.status is RequestStatus.RUNNING]
        decoding = set(decodes)
        between = self.interleaved.request if self.interleaved else None
        prefills = [r for r in self.running if r not in decoding and r is not between]
        urgent = min((r.priority for r in decodes), default=0)
        if budget.interleaved:
            long = [r for r in prefills if not _may_block(r, urgent)]
            self._start_interleaved(long, budget.interleaved)
            prefills = [r for r in prefills if _may_block(r, urgent)]
        room = step_tokens - len(decodes)
        chunks = self._chunks(prefills, budget, urgent=urgent, room=room)
        return [Scheduled(r, 1, True, True) for r in decodes] + chunks

    def advance(self, scheduled: Iterable[Scheduled]) -> None:
        """Record that these tokens are computed, and publish the blocks that they filled.

        Call after the step ran and before sampled tokens are appended.
        """
        size = self.pool.block_tokens
        for item in scheduled:
            request = item.request
            if item is self.interleaved:
                self.interleaved = None
            request.num_computed += item.num_tokens
            while (len(request.digests) + 1) * size <= request.num_computed:
                n = len(request.digests)
                parent = request.digests[-1] if n else request.root
                digest = block_digest(parent, request.token_ids[n * size : (n + 1) * size])
                request.digests.append(digest)
                self.pool.publish(request.blocks[n], digest)
            if self.window:
                self._drop_behind_window(request)

    def finish(self, request: ActiveRequest, *, poisoned: bool = False) -> list[int]:
        """Take the request out wherever it is, and free its blocks. Returns the freed ones."""
        if request.status is RequestStatus.WAITING:
            self.waiting.remove(request)
        elif request.status is RequestStatus.RUNNING:
            self.running.remove(request)
        request.status = RequestStatus.FINISHED  # a PREPARING one was in neither list
        return self._release(request, poisoned=poisoned)

    def preempt(self, request: ActiveRequest) -> None:
        """Put a running request back in the queue. Its tokens stay, its blocks go."""
        self.running.remove(request)
        self._release(request)
        if request.wants_echo:  # it begins again with the first token
            request.echo.clear()
        request.status = RequestStatus.WAITING
        request.preemptions += 1
        self.waiting.append(request)

    def _decodes(self) -> list[ActiveRequest]:
        """Running requests that decode, each with a block for its next token.

        When a request finds no block, the last in the queue's order is preempted, at worst itself.
        """
        chosen = []
        for request in sorted((r for r in self.running if r.is_decoding), key=_queue_key):
            while request.status is RequestStatus.RUNNING:
                if len(request.blocks) * self.pool.block_tokens > request.num_computed:
                    break
                taken = self.pool.take(1)
                if taken is not None:
                    request.blocks += taken
                    break
                self.preempt(max(self.running, key=_queue_key))
            if request.status is RequestStatus.RUNNING:
                chosen.append(request)
        return chosen

    def _admit(self) -> None:
        """Let waiting requests run in the queue's order while there is room for all their tokens.

        One that doesn't fit holds up those behind it: small requests can't starve a large one. A
        request preempts a running one of lower priority.
        """
        for request in sorted(self.waiting, key=_queue_key):
            while not self._start(request):
                last = max(self.running, key=_queue_key, default=None)
                if last is None or last.priority <= request.priority:
                    return
                self.preempt(last)

    def _start(self, request: ActiveRequest) -> bool:
        """Let a waiting request run, if there is a place and blocks for it."""
        if len(self.running) >= self.max_running:
            return False
        pool = self.pool
        # Log-probabilities of the prompt need its logits, which pages don't hold.
        matched = [] if request.wants_echo else pool.match(request.token_ids, request.root)
        shared = [block for block, _ in matched]
        missing = pool.blocks_for(len(request.token_ids)) - len(shared)
        # Leave each running request a block to grow into, or this one would be preempted at once.
        reserve = len(self.running)
        if pool.num_free_after_sharing(shared) < missing + reserve:
            return False
        pool.share(shared)
        request.blocks = shared + (pool.take(missing) or [])
        request.digests = [digest for _, digest in matched]
        request.num_computed = len(shared) * pool.block_tokens
        if request.admitted is None:
            request.num_cached_tokens = min(request.num_computed, request.num_prompt)
        request.is_short = request.num_uncomputed <= SHORT_PROMPT
        request.status = RequestStatus.RUNNING
        self.waiting.remove(request)
        self.running.append(request)
        return True

    def _start_interleaved(self, long: list[ActiveRequest], most: int) -> None:
        """Choose the chunk to run between steps: of the first prompt in the queue's order, and
        every second time of the shortest one.
        """
        if self.interleaved is not None or not long:
            return
        is_turn_of_shortest = self.num_interleaved % 2 == 1
        chosen = min(long, key=_length_key if is_turn_of_shortest else _queue_key)
        tokens = min(most, chosen.num_uncomputed)
        self.interleaved = Scheduled(chosen, tokens, tokens == chosen.num_uncomputed)
        self.num_interleaved += 1

    def _chunks(
        self, prefills: list[ActiveRequest], budget: PrefillBudget, *, urgent: int, room: int
    ) -> list[Scheduled]:
        """Share the budget among these. A prompt of lower priority than a decode can't block it."""

        def limit(request: ActiveRequest) -> int:
            blocking = budget.blocking if _may_block(request, urgent) else 0
            return min(room, max(budget.piggybacked, blocking))

        shares: dict[ActiveRequest, int] = {}
        taken = 0

        def give(request: ActiveRequest, most: int) -> None:
            nonlocal taken
            share = min(request.num_uncomputed - shares.get(request, 0), most - taken)
            if share > 0:
                shares[request] = shares.get(request, 0) + share
                taken += share

        if prefills:
            oldest = min(prefills, key=_queue_key)
            give(oldest, -(-limit(oldest) // 2))
        for request in sorted(prefills, key=_length_key):
            give(request, limit(request))
        return [Scheduled(r, n, n == r.num_uncomputed) for r, n in shares.items()]

    def _drop_behind_window(self, request: ActiveRequest) -> None:
        """Give back blocks that no later token of this request can see."""
        first_seen = max(0, request.num_computed - self.window + 1) // self.pool.block_tokens
        passed = request.blocks[request.num_dropped : first_seen]
        if passed:
            self.pool.release(passed)
            request.blocks[request.num_dropped : first_seen] = [0] * len(passed)
            request.num_dropped = first_seen

    def _release(self, request: ActiveRequest, *, poisoned: bool = False) -> list[int]:
        if self.interleaved is not None and self.interleaved.request is request:
            self.interleaved = None
        freed = self.pool.release(request.blocks[request.num_dropped :], poisoned=poisoned)
        request.num_dropped = 0
        request.blocks = []
        request.digests = []
        request.num_computed = 0
        return freed


def _queue_key(request: ActiveRequest) -> tuple[int, int]:
    return request.queue_key


def _length_key(request: ActiveRequest) -> tuple[int, int, int]:
    return request.priority, request.num_uncomputed, request.arrival


def _may_block(request: ActiveRequest, urgent: int) -> bool:
    """Whether a prompt may hold up decodes, the most urgent of which is of that priority."""
    return request.is_short and request.priority <= urgent
