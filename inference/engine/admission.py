"""What happens to a request before it waits for its turn: it is checked, its grammar is compiled.

Knows neither order nor pages; the core puts what comes out of here in the scheduler's queue
or ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future

from inference.contract import ErrorCode, GenerationRequest
from inference.engine.active_request import ActiveRequest
from inference.engine.sampling.grammar import AnswerGrammar, BadSchema, Grammars


def find_problem(
    request: GenerationRequest, *, context_length: int, vocab_size: int
) -> tuple[ErrorCode, str] | None:
    """Why a model of these sizes can't serve this request; None if it can."""
    tokens = [*request.prompt_token_ids, *request.continue_from]
    if not request.prompt_token_ids:
        return ErrorCode.EMPTY_PROMPT, "The prompt has no tokens."
    is_scored_alone = request.echo_logprobs is not None and request.sampling.max_tokens == 1
    if len(tokens) > (context_length if is_scored_alone else context_length - 1):
        return (
            ErrorCode.PROMPT_TOO_LONG,
            f"The prompt has {len(tokens)} tokens; the context holds {context_length}, "
            "answer included.",
        )
    if min(tokens) < 0 or max(tokens) >= vocab_size:
        return ErrorCode.BAD_TOKEN, f"Token ids must lie between 0 and {vocab_size - 1}."
    return None


class GrammarCompiler:
    """Compiles the grammars of constrained requests in `background`.

    `wake` is called from another thread when one is ready. All other calls come from the engine
    thread.
    """

    def __init__(
        self, grammars: Grammars | None, *, background: Executor, wake: Callable[[], object]
    ) -> None:
        self._grammars = grammars
        self._background = background
        self._wake = wake
        self._compiling: dict[ActiveRequest, Future[AnswerGrammar]] = {}

    def __len__(self) -> int:
        """How many requests wait for their grammar; cancelled ones count until it is ready."""
        return len(self._compiling)

    def start(self, active: ActiveRequest) -> None:
        """Begin with the grammar of a request that has a constraint.

        Raises BadSchema where the model has no tokenizer.
        """
        constraint = active.request.constraint
        assert constraint is not None
        if self._grammars is None:
            raise BadSchema("Without a tokenizer no grammar can be followed.")
        future = self._background.submit(
            self._grammars.start, constraint.kind, constraint.text, active.request.continue_from
        )
        self._compiling[active] = future
        future.add_done_callback(lambda _: self._wake())

    def ready(self) -> Iterator[tuple[ActiveRequest, AnswerGrammar | BadSchema]]:
        """The requests whose grammar is compiled or can't be followed; each comes once."""
        for active, future in [*self._compiling.items()]:
            if not future.done():
                continue
            del self._compiling[active]
            try:
                yield active, future.result()
            except BadSchema as error:
                yield active, error
