"""An engine that a test steps by hand: for faults that the real one can't be made to have."""

from __future__ import annotations

from collections.abc import Callable

from inference.contract import EngineStats, Event, GenerationRequest, Result
from inference.engine.config import EngineConfig
from tests.support.requests import delta, ending


class HandEngine:
    """The engine's face. `say` emits tokens of a request; `break_down` is a failing step."""

    def __init__(self, config: EngineConfig, emit: Callable[[list[Event]], None]) -> None:
        self.config = config
        self.steps = 0
        self.requests: dict[str, GenerationRequest] = {}
        self.cancelled: list[str] = []
        self.state = EngineStats()
        self._emit = emit

    def start(self) -> None:
        self.state = EngineStats(state="ready", dtype="float32", path="by hand")

    def submit(self, request: GenerationRequest) -> None:
        self.requests[request.request_id] = request

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)
        self.end(request_id, finish_reason="cancelled")

    def stop(self, timeout_s: float = 1.0) -> bool:
        self._end_all("interrupted", "engine_stopped")
        return True

    def status(self) -> EngineStats:
        return self.state

    # --- the test's hand -----------------------------------------------------------------------

    def say(self, request_id: str, *positions: int) -> None:
        """One step for each token."""
        request = self.requests[request_id]
        for position in positions:
            self.steps += 1
            self._emit([delta(request, position, attempt=request.attempt)])

    def end(self, request_id: str, **changes: object) -> None:
        request = self.requests.pop(request_id, None)
        if request is not None:
            self._emit([ending(request, attempt=request.attempt, **changes)])

    def break_down(self) -> None:
        self.state = EngineStats(state="failed", state_detail="broken by hand")
        self._end_all("failed", "engine_failed")

    def _end_all(self, reason: str, code: str) -> None:
        results: list[Event] = [
            Result(
                request_id=request.request_id,
                attempt=request.attempt,
                finish_reason=reason,  # type: ignore[arg-type]
                error_code=code,
                error_text="The engine ended.",
            )
            for request in self.requests.values()
        ]
        self.requests.clear()
        self._emit(results)
