"""What crosses the boundary between the site and the transformer, and its wire form.

Frozen dataclasses and enums: the web processes, the worker and the engine all speak these types and
nothing else. Doesn't know how anything is transported (queue/) or computed (engine/).
"""

from inference.contract.clock import Stamp, boot_id, offset_us
from inference.contract.codec import from_wire, to_wire
from inference.contract.codes import (
    HANDED_ON,
    CloseCode,
    ErrorCode,
    FinishReason,
    Phase,
    RequestState,
    WorkerState,
)
from inference.contract.events import (
    EVENT_TYPES,
    LOGPROB_FLOOR,
    Delta,
    Event,
    Progress,
    Result,
    Started,
    TokenLogprobs,
)
from inference.contract.request import (
    PRIORITY_API,
    PRIORITY_CHAT,
    Constraint,
    GenerationRequest,
    GrammarKind,
    Source,
)
from inference.contract.sampling import InvalidField, SamplingParams, is_end_token
from inference.contract.snapshot import EngineStats, FormatSpeed, WorkerSnapshot
from inference.contract.token_record import CANDIDATES, NO_TOKEN, TOKEN_RECORD, TOKEN_RECORD_BYTES

__all__ = [
    "CANDIDATES",
    "EVENT_TYPES",
    "HANDED_ON",
    "LOGPROB_FLOOR",
    "NO_TOKEN",
    "PRIORITY_API",
    "PRIORITY_CHAT",
    "TOKEN_RECORD",
    "TOKEN_RECORD_BYTES",
    "CloseCode",
    "Constraint",
    "Delta",
    "EngineStats",
    "ErrorCode",
    "Event",
    "FinishReason",
    "FormatSpeed",
    "GenerationRequest",
    "GrammarKind",
    "InvalidField",
    "Phase",
    "Progress",
    "RequestState",
    "Result",
    "SamplingParams",
    "Source",
    "Stamp",
    "Started",
    "TokenLogprobs",
    "WorkerSnapshot",
    "WorkerState",
    "boot_id",
    "from_wire",
    "is_end_token",
    "offset_us",
    "to_wire",
]
