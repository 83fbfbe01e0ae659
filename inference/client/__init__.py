"""All that the site may call: to submit, cancel, read, follow and count requests, and for its
periodic task.

Never loads torch; tasks are sent by name. Calls wait about two seconds at most for Redis. Every
connection error is raised as `RedisUnavailable`.
"""

from inference.client.exceptions import (
    ClientError,
    ModelUnknown,
    NoSuchRequest,
    QueueFull,
    RedisUnavailable,
    WorkerSilent,
)
from inference.client.periodic import (
    LiveRequest,
    Look,
    interrupt,
    live_requests,
    look,
    lost_requests,
    one_at_a_time,
    resubmit,
    unstored_results,
)
from inference.client.probe import write_probe
from inference.client.requests import (
    cancel,
    count_waiting,
    forget,
    hub,
    is_known,
    queue_position,
    read,
    read_after,
    result,
    submit,
)
from inference.client.texts import context_length, count, describe, fit, load_text
from inference.client.workers import load_model, unload_model, workers
from inference.queue.broker import broker_options
from inference.queue.connection import LOOK_EVERY_S, broker_url
from inference.queue.hub import StreamHub
from inference.queue.outage_log import OneLinePerOutage
from inference.queue.outage_log import install as quiet_outages
from inference.queue.stream_reader import QueuePosition, SlowReader
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
    "Look",
    "ModelUnknown",
    "NoSuchRequest",
    "OneLinePerOutage",
    "PromptTooLong",
    "QueueFull",
    "QueuePosition",
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
    "look",
    "lost_requests",
    "models_dir",
    "one_at_a_time",
    "queue_position",
    "quiet_outages",
    "read",
    "read_after",
    "resubmit",
    "result",
    "submit",
    "unload_model",
    "unstored_results",
    "workers",
    "write_probe",
]
