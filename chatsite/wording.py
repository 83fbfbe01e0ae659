"""What an error of the transformer side says to a person, in the language of the page.

inference/ words its errors in English, for logs and for programs. People read what stands here, by
the error's code. It is looked up when it is read: a stored answer speaks its reader's language.
"""

from __future__ import annotations

from django.utils.translation import gettext as _

from inference.contract import InvalidField, SamplingParams


def error_sentence(code: str) -> str:
    """The sentence of an error code; "" for none, and an unknown one is named."""
    if not code:
        return ""
    sentence = error_sentences().get(code)
    return sentence or _("Something went wrong (%(code)s).") % {"code": code}


def error_sentences() -> dict[str, str]:
    """All codes that an answer may end with, or a request be refused with."""
    return {
        # the queue and the workers
        "worker_lost": _("The model's worker stopped."),
        "expired": _("No worker took this up in time."),
        "queue_lost": _("The queue lost this request. What was written is kept."),
        "queue_full": _("Too many requests wait for this model. Try again in a while."),
        "queue_away": _("The queue can't be reached just now. Try again."),
        "redis_unavailable": _("The queue can't be reached just now. Try again."),
        "not_sent": _("This request could not be sent to a worker."),
        "no_such_request": _("There is no such request."),
        "worker_silent": _("The worker doesn't answer."),
        # what was asked for
        "model_unknown": _("This model isn't here any more, or its folder can't be read."),
        "preset_unknown": _("This preset isn't here any more."),
        "bad_preset": _("This preset holds a value that can't be used."),
        "inference_failed": _("The model's template can't be filled with this conversation."),
        "prompt_too_long": _("This is too long for the model's context."),
        "empty_prompt": _("There was nothing to answer to."),
        "bad_token": _("The prompt holds a token that the model doesn't know."),
        "bad_schema": _("The model can't be held to this JSON schema."),
        "nothing_allowed": _("The rules of this request leave no token to go on with."),
        # the engine
        "engine_error": _("The model failed on this request."),
        "engine_failed": _("The model's engine stopped working."),
        "engine_stopped": _("The worker was stopped."),
        "model_failed": _("The worker could not load the model."),
        "out_of_memory": _("There was not enough memory for this answer."),
        "bad_logits": _("The model's output was not a number."),
    }


def field_sentence(error: InvalidField) -> str:
    """What a sampling setting may be, when it isn't that."""
    name = error.field
    words = {"field": name}
    if name in SamplingParams.RANGES:
        low, high = SamplingParams.RANGES[name]
        words |= {"low": f"{low}", "high": f"{high}"}
    if name == "top_p":
        return _("%(field)s must be greater than 0 and at most %(high)s.") % words
    if name == "min_tokens" and "exceed" in str(error):
        return _("min_tokens must not exceed max_tokens.")
    if name in SamplingParams.RANGES:
        return _("%(field)s must be a number from %(low)s to %(high)s.") % words
    if name == "stop":
        return _("stop takes at most %(strings)d strings of 1 to %(chars)d characters.") % {
            "strings": SamplingParams.MAX_STOP_STRINGS,
            "chars": SamplingParams.MAX_STOP_CHARS,
        }
    return _("The value of %(field)s can't be used.") % words
