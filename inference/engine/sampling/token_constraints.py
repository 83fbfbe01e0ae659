"""Which tokens a request rules out by id: its bad words, and all but those it allows.

Looks at tokens alone and keeps no state, so that an answer that is resumed or was preempted goes on
under the same rules. What min_tokens and grammars rule out, the sampler adds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from inference.contract import SamplingParams


class TokenConstraints:
    """`allowed` are the only ids that may come, or None. Bad words are sequences of ids."""

    def __init__(
        self, *, allowed: Sequence[int] | None = None, bad: Iterable[Sequence[int]] = ()
    ) -> None:
        self.allowed = None if allowed is None else array("q", sorted(set(allowed)))
        self._always: set[int] = set()  # bad words of one token
        # By a word's last token but one: its beginning, and the token that would complete it.
        self._completions: dict[int, list[tuple[list[int], int]]] = {}
        for word in bad:
            *before, last = word
            if before:
                self._completions.setdefault(before[-1], []).append((before, last))
            else:
                self._always.add(last)

    @classmethod
    def of(cls, sampling: SamplingParams) -> TokenConstraints | None:
        """The constraints of these parameters; None where nothing is ruled out."""
        if sampling.allowed_token_ids is None and not sampling.bad_token_ids:
            return None
        return cls(allowed=sampling.allowed_token_ids, bad=sampling.bad_token_ids)

    def banned(self, token_ids: Sequence[int], num_answer: int) -> set[int]:
        """The ids that would complete a bad word behind an answer, the end of `token_ids`.

        A word that begins in the prompt doesn't count: only the answer is looked at.
        """
        if not num_answer or not self._completions:
            return self._always
        found = set(self._always)
        for before, last in self._completions.get(token_ids[-1], ()):
            if len(before) <= num_answer and list(token_ids[-len(before) :]) == before:
                found.add(last)
        return found
