"""Says in OpenAI's words what is wrong with a request's body.

pydantic finds all faults; this picks one, names its path as the caller wrote it
(`messages[0].content`) and words it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from chatsite.api.error_codes import ApiCode
from chatsite.api.error_responses import ApiError
from chatsite.api.schemas.body import (
    FIELDS_TOGETHER,
    MISSING_INSIDE,
    NOTHING_INSIDE,
)

EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a decimal number",
    "bool_type": "a boolean",
    "string_type": "a string",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
}
BOUNDS = {
    "greater_than_equal": ("below_min", "below minimum", ">=", "ge"),
    "greater_than": ("below_min", "below minimum", ">", "gt"),
    "less_than_equal": ("above_max", "above maximum", "<=", "le"),
    "less_than": ("above_max", "above maximum", "<", "lt"),
}


def api_error_of(error: ValidationError, body: Any) -> ApiError:
    """The error to report: for the first field at fault, the one at the deepest place."""
    details = error.errors(include_url=False)
    unknown = [d for d in details if _is_unknown_argument(d)]
    if len(unknown) == len(details):  # as OpenAI does: only when nothing else is wrong
        return _unrecognized([str(d["loc"][0]) for d in unknown])
    details = [d for d in details if not _is_unknown_argument(d)]
    placed = [(_real_path(d, body), d) for d in details]
    first = placed[0][0][:1]
    placed = [(path, d) for path, d in placed if path[:1] == first]
    depth = max(len(path) for path, _ in placed)
    path = next(path for path, _ in placed if len(path) == depth)
    here = [d for p, d in placed if p == path]
    name = _name(path)
    others = [d for d in here if d["type"] not in EXPECTED]
    if others:
        return _worded(name, others[0])
    kinds = list(dict.fromkeys(EXPECTED[d["type"]] for d in here))
    kinds = [kind for kind in kinds if kind != "null"] or kinds
    wanted = kinds[0] if len(kinds) == 1 else f"one of {' or '.join(kinds)}"
    return _wrong_type(name, wanted, here[0]["input"])


def _is_unknown_argument(detail: ErrorDetails) -> bool:
    return detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1


def _unrecognized(names: list[str]) -> ApiError:
    plural = "s" if len(names) > 1 else ""
    listed = ", ".join(name[:64] for name in names[:10])
    return ApiError(400, f"Unrecognized request argument{plural} supplied: {listed}")


def _real_path(detail: ErrorDetails, body: Any) -> tuple[str | int, ...]:
    """pydantic's location without the names of union branches, which no caller has written."""
    path: list[str | int] = []
    at: Any = body
    loc = detail["loc"]
    for place, key in enumerate(loc):
        is_last = place == len(loc) - 1
        has_key = (isinstance(at, dict) and isinstance(key, str) and key in at) or (
            isinstance(at, list) and isinstance(key, int) and key < len(at)
        )
        if has_key:
            at = at[key]
        elif not (is_last and detail["type"] in ("missing", "extra_forbidden")):
            continue
        path.append(key)
    return tuple(path)


def _name(path: Sequence[str | int]) -> str:
    name = ""
    for key in path:
        name += f"[{key}]" if isinstance(key, int) else f".{key[:64]}" if name else key[:64]
    return name


def _worded(name: str, detail: ErrorDetails) -> ApiError:
    kind, ctx, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "missing":
        return _missing(name)
    if kind == "extra_forbidden":
        return _invalid(name, f"Unknown parameter: '{name}'.", ApiCode.UNKNOWN_PARAMETER)
    if kind in BOUNDS:
        code, words, sign, bound = BOUNDS[kind]
        what = "decimal" if isinstance(value, float) else "integer"
        text = (
            f"Invalid '{name}': {what} {words} value. Expected a value {sign} "
            f"{_shown(ctx[bound])}, but got {_shown(value)} instead."
        )
        return _invalid(name, text, ApiCode(f"{what}_{code}_value"))
    if kind == "literal_error":
        expected = str(ctx["expected"]).replace("True", "true").replace("False", "false")
        text = f"Invalid value: {_shown(value)}. Supported values are: {expected}."
        return _invalid(name, text, ApiCode.INVALID_VALUE)
    if kind == "union_tag_not_found":
        return _missing(f"{name}.type")
    if kind == "union_tag_invalid":
        text = f"Invalid value: {_shown(ctx['tag'])}. Supported values are: {ctx['expected_tags']}."
        return _invalid(f"{name}.type", text, ApiCode.INVALID_VALUE)
    if kind in ("too_long", "too_short"):
        return _length(name, "an array", "array", kind, ctx, len(value))
    if kind in ("string_too_long", "string_too_short"):
        return _length(name, "a string", "string", kind.removeprefix("string_"), ctx, len(value))
    if kind == "finite_number":
        return _invalid(
            name, f"Invalid '{name}': the number must be finite.", ApiCode.INVALID_VALUE
        )
    if kind in (MISSING_INSIDE, NOTHING_INSIDE):
        name = f"{name}.{ctx['field']}" if name else str(ctx["field"])
    if kind == MISSING_INSIDE:
        return _missing(name)
    if kind == NOTHING_INSIDE and ctx["value"] is not None:
        return _length(name, "an array", "array", "too_short", {"min_length": 1}, 0)
    if kind == NOTHING_INSIDE:
        return _wrong_type(name, "one of a string or an array", None)
    if kind == FIELDS_TOGETHER:
        return _invalid(str(ctx["param"]), detail["msg"], ApiCode.INVALID_VALUE)
    return _invalid(name, f"Invalid '{name}': {detail['msg']}.", ApiCode.INVALID_VALUE)


def _length(name: str, a: str, what: str, kind: str, ctx: dict[str, Any], length: int) -> ApiError:
    if kind == "too_long":
        text = (
            f"Invalid '{name}': {what} too long. Expected {a} with maximum length "
            f"{ctx['max_length']}, but got {a} with length {length} instead."
        )
        return _invalid(name, text, ApiCode(f"{what}_above_max_length"))
    got = f"an empty {what}" if length == 0 else f"{a} with length {length}"
    words = f"empty {what}" if length == 0 else f"{what} too short"
    text = (
        f"Invalid '{name}': {words}. Expected {a} with minimum length {ctx['min_length']}, "
        f"but got {got} instead."
    )
    code = f"empty_{what}" if length == 0 else f"{what}_below_min_length"
    return _invalid(name, text, ApiCode(code))


def _invalid(name: str, message: str, code: ApiCode) -> ApiError:
    return ApiError(400, message, param=name or None, code=code)


def _wrong_type(name: str, wanted: str, value: Any) -> ApiError:
    what = f"Invalid type for '{name}'" if name else "Invalid type of the request's body"
    text = f"{what}: expected {wanted}, but got {_kind_of(value)} instead."
    return _invalid(name, text, ApiCode.INVALID_TYPE)


def _missing(name: str) -> ApiError:
    return _invalid(
        name, f"Missing required parameter: '{name}'.", ApiCode.MISSING_REQUIRED_PARAMETER
    )


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) > 10**30:
        return "a number of more than 30 digits"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:80] + "…"
