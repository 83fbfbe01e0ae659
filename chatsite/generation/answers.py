"""Where the answers of each source are kept, while they are written and afterwards.

The chat keeps them in its messages and registers how (chat.answers); an API's answers go to the
client alone. This app stores what was measured and never knows what an answer belongs to.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from chatsite.generation.transcript import Transcript


class Answers(Protocol):
    """The answers of one source."""

    def written(self, request_id: UUID) -> tuple[str, list[int]] | None:
        """Text and tokens that are stored of this request's answer; None without an answer."""

    def submitted(self, request_id: UUID) -> None:
        """The request is in the queue now."""

    def checkpoint(self, request_id: UUID, transcript: Transcript) -> None:
        """Store the text so far of an answer that still runs."""

    def finished(self, request_id: UUID, transcript: Transcript) -> None:
        """Store the answer with its end. Called in the transaction that closes the request."""


class NotKept:
    """Answers that are kept nowhere."""

    def written(self, request_id: UUID) -> tuple[str, list[int]] | None:
        return None

    def submitted(self, request_id: UUID) -> None: ...

    def checkpoint(self, request_id: UUID, transcript: Transcript) -> None: ...

    def finished(self, request_id: UUID, transcript: Transcript) -> None: ...


_answers: dict[str, Answers] = {}
_not_kept = NotKept()


def register(source: str, answers: Answers) -> None:
    """Register where answers of a source (Generation.Source) are kept; call at start-up."""
    _answers[source] = answers


def answers_of(source: str) -> Answers:
    return _answers.get(source, _not_kept)


def kept_sources() -> list[str]:
    """The sources whose answers are kept."""
    return list(_answers)
