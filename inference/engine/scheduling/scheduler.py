"""Chooses which requests run next, and with how many tokens. Sees block counts, never tensors.

Each step decodes every request that can decode, and fills what is left of the token budget with
prefill chunks: half of it at least for whoever has waited longest, the rest for the shortest
prompts. Short prompts may hold the decodes up a little. Long ones ride along in small pieces; or,
where a step can be cut between layers, one at a time stands aside: its chunk runs a few layers at a
time between the steps of the decodes. When pages run out, the request that matters least is thrown
back in line; it loses no token, only the time to compute them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from inference.engine.active_request import ActiveRequest, RequestStatus
from inference.engine.scheduling.kv_cache import BlockPool, block_digest
from inference.engine.scheduling.prefill_pacing import Allowance

SHORT_PROMPT = 512
"""A prompt admitted with at most this many tokens to compute may pause the decodes of others."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Run the next `num_tokens` tokens of `request`; `samples` when they are the last."""

    request: ActiveRequest
    num_tokens: int
    samples: bool
    is_decode: bool = False


@dataclass(slots=True)
class Scheduler:
    """Who waits, who runs, and who owns which blocks.

    Every running request owns blocks for all its tokens up to the one being computed; waiting ones
    own none. `max_running` bounds the requests of one step. A block that lies before every layer's
    window is given back, and stands as 0 in the request's blocks.
    """

    pool: BlockPool
    max_running: int
    window: int = 0  # the widest of the layers' windows; 0 when a layer sees everything
    aside: Scheduled | None = None  # the chunk under way beside the steps; advance() ends it
    num_aside: int = 0  # chunks that have been put there
    waiting: list[ActiveRequest] = field(default_factory=list)
    running: list[ActiveRequest] = field(default_factory=list)

    def add(self, request: ActiveRequest) -> None:
        """Put a request in line. The core bounds the line's length."""
        self.waiting.append(request)

    def schedule(self, *, step_tokens: int, allowance: Allowance) -> list[Scheduled]:
        """The next step: decodes first, then prefill chunks, never more than `step_tokens`.

        `allowance` bounds the chunks together (the engine keeps steps short while others decode).
        Empty when nothing can run.
        """
        decodes = self._decodes()
        self._admit()
        decodes = [r for r in decodes if r.phase is RequestStatus.RUNNING]
        decoding = set(decodes)
        beside = self.aside.request if self.aside else None
        prefills = [r for r in self.running if r not in decoding and r is not beside]
        urgent = min((r.priority for r in decodes), default=0)
        if allowance.aside:
            self._put_aside([r for r in prefills if not _may_pause(r, urgent)], allowance.aside)
            prefills = [r for r in prefills if _may_pause(r, urgent)]
        room = step_tokens - len(decodes)
        chunks = self._chunks(prefills, allowance, urgent=urgent, room=room)
        return [Scheduled(r, 1, True, True) for r in decodes] + chunks

    def advance(self, scheduled: Iterable[Scheduled]) -> None:
        """Record that these tokens are computed, and let others find the blocks they filled.

        Call after the step ran and before sampled tokens are appended.
        """
        size = self.pool.block_tokens
        for item in scheduled:
            request = item.request
            if item is self.aside:
                self.aside = None
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
        if request.phase is RequestStatus.WAITING:
            self.waiting.remove(request)
        elif request.phase is RequestStatus.RUNNING:
            self.running.remove(request)
        request.phase = RequestStatus.FINISHED  # PREPARING was in no list
        return self._release(request, poisoned=poisoned)

    def preempt(self, request: ActiveRequest) -> None:
        """Throw a running request back in line. Its tokens stay, its blocks go."""
        self.running.remove(request)
        self._release(request)
        if request.wants_echo:  # it begins again with the first token
            request.echo.clear()
        request.phase = RequestStatus.WAITING
        request.preemptions += 1
        self.waiting.append(request)

    def _decodes(self) -> list[ActiveRequest]:
        """Running requests that decode, each with a block for its next token.

        A request that finds no block throws back the last in rank, at worst itself.
        """
        chosen = []
        for request in sorted((r for r in self.running if r.is_decoding), key=_rank):
            while request.phase is RequestStatus.RUNNING:
                if len(request.blocks) * self.pool.block_tokens > request.num_computed:
                    break
                taken = self.pool.take(1)
                if taken is not None:
                    request.blocks += taken
                    break
                self.preempt(max(self.running, key=_rank))
            if request.phase is RequestStatus.RUNNING:
                chosen.append(request)
        return chosen

    def _admit(self) -> None:
        """Let waiting requests run, best rank first, while there is room for all their tokens.

        One that doesn't fit holds up those behind it: small requests can't starve a large one. Who
        matters more than a running request takes its place.
        """
        for request in sorted(self.waiting, key=_rank):
            while not self._start(request):
                last = max(self.running, key=_rank, default=None)
                if last is None or last.priority <= request.priority:
                    return
                self.preempt(last)

    def _start(self, request: ActiveRequest) -> bool:
        if len(self.running) >= self.max_running:
            return False
        pool = self.pool
        # Who wants the log-probabilities of the prompt needs its logits, which pages don't hold.
        matched = [] if request.wants_echo else pool.match(request.token_ids, request.root)
        shared = [block for block, _ in matched]
        missing = pool.blocks_for(len(request.token_ids)) - len(shared)
        # Leave those who run a block each to grow into, or this one would be thrown back at once.
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
        request.phase = RequestStatus.RUNNING
        self.waiting.remove(request)
        self.running.append(request)
        return True

    def _put_aside(self, long: list[ActiveRequest], most: int) -> None:
        """Let the one that has waited longest stand aside, and every other time the shortest."""
        if self.aside is not None or not long:
            return
        is_turn_of_shortest = self.num_aside % 2 == 1
        chosen = min(long, key=_shortness if is_turn_of_shortest else _rank)
        tokens = min(most, chosen.num_uncomputed)
        self.aside = Scheduled(chosen, tokens, tokens == chosen.num_uncomputed)
        self.num_aside += 1

    def _chunks(
        self, prefills: list[ActiveRequest], allowance: Allowance, *, urgent: int, room: int
    ) -> list[Scheduled]:
        """Share the allowance among these. Who matters less than a decode can't pause it."""

        def limit(request: ActiveRequest) -> int:
            pausing = allowance.pausing if _may_pause(request, urgent) else 0
            return min(room, max(allowance.riding, pausing))

        shares: dict[ActiveRequest, int] = {}
        taken = 0

        def give(request: ActiveRequest, most: int) -> None:
            nonlocal taken
            share = min(request.num_uncomputed - shares.get(request, 0), most - taken)
            if share > 0:
                shares[request] = shares.get(request, 0) + share
                taken += share

        if prefills:
            oldest = min(prefills, key=_rank)
            give(oldest, -(-limit(oldest) // 2))
        for request in sorted(prefills, key=_shortness):
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
        if self.aside is not None and self.aside.request is request:
            self.aside = None
        freed = self.pool.release(request.blocks[request.num_dropped :], poisoned=poisoned)
        request.num_dropped = 0
        request.blocks = []
        request.digests = []
        request.num_computed = 0
        return freed


def _rank(request: ActiveRequest) -> tuple[int, int]:
    return request.rank


def _shortness(request: ActiveRequest) -> tuple[int, int, int]:
    return request.priority, request.num_uncomputed, request.arrival


def _may_pause(request: ActiveRequest, urgent: int) -> bool:
    """Whether a prompt may hold decodes up, the most urgent of which is of that priority."""
    return request.is_short and request.priority <= urgent
