"""All that the site may call: count, submit, cancel, read, follow, and what its reaper needs.

Never loads torch; tasks are sent by name. Calls wait at most about two seconds for Redis; trouble
with it of any kind is `RedisUnavailable`, so that callers needn't know how a broken connection
shows.
"""

from inference.client.exceptions import (
    ClientError,
    ModelUnknown,
    NoSuchRequest,
    QueueFull,
    RedisUnavailable,
    WorkerSilent,
)
from inference.client.reaper import (
    interrupt,
    lost_requests,
    one_at_a_time,
    resubmit,
    unstored_results,
)
from inference.client.requests import (
    LiveRequest,
    cancel,
    count_waiting,
    forget,
    hub,
    is_known,
    live_requests,
    place_in_line,
    read,
    read_after,
    result,
    submit,
)
from inference.client.texts import context_length, count, describe, fit, load_text
from inference.client.workers import load_model, unload_model, workers
from inference.queue.broker import broker_options
from inference.queue.connection import LOOK_EVERY_S, broker_url
from inference.queue.hub import Place, SlowReader, StreamHub
from inference.text import (
    BadMessage,
    Fitted,
    PromptTooLong,
    TemplateFailed,
    TextModel,
    clean,
    models_dir,
)

__all__ = [
    "LOOK_EVERY_S",
    "BadMessage",
    "ClientError",
    "Fitted",
    "LiveRequest",
    "ModelUnknown",
    "NoSuchRequest",
    "Place",
    "PromptTooLong",
    "QueueFull",
    "RedisUnavailable",
    "SlowReader",
    "StreamHub",
    "TemplateFailed",
    "TextModel",
    "WorkerSilent",
    "broker_options",
    "broker_url",
    "cancel",
    "clean",
    "context_length",
    "count",
    "count_waiting",
    "describe",
    "fit",
    "forget",
    "hub",
    "interrupt",
    "is_known",
    "live_requests",
    "load_model",
    "load_text",
    "lost_requests",
    "models_dir",
    "one_at_a_time",
    "place_in_line",
    "read",
    "read_after",
    "resubmit",
    "result",
    "submit",
    "unload_model",
    "unstored_results",
    "workers",
]
