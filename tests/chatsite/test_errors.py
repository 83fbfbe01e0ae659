"""What a ChatError takes from its code, and what its raiser may say better."""

from __future__ import annotations

from chatsite.errors import ChatError, NotFound
from inference.contract import ErrorCode


def test_a_code_brings_its_sentence_and_status() -> None:
    error = ChatError(ErrorCode.BUSY)
    assert (error.code, error.status, error.field) == (ErrorCode.BUSY, 409, "")
    assert error.text == str(error) == ErrorCode.BUSY.sentence


def test_what_the_raiser_says_goes_first() -> None:
    error = ChatError(ErrorCode.BAD_FIELD, "“limit” is too large.", field="limit", status=422)
    assert (error.text, error.field, error.status) == ("“limit” is too large.", "limit", 422)


def test_what_is_not_found_is_404_in_any_words() -> None:
    assert (NotFound().status, NotFound().text) == (404, "Not found.")
    assert NotFound("There is no such message.").text == "There is no such message."
